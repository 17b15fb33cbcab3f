"""The runs of a study: processes of their own, each with an ordinary run folder.

Runs that are done are not repeated: however a study was stopped, the same command resumes it.
"""

import json
import math
import os
import sys
from pathlib import Path
from typing import Optional

from cloudmask.records import Inference, Masks
from cloudmask.research.config import ResearchConfig
from cloudmask.research.study.plan import Step, overrides, scenes_folder, settings_of, steps
from cloudmask.scoring import NETWORK
from cloudmask.tools import synthesize
from common.data.files import make_folder
from common.launching.processes import Job, run_all
from common.runs.files import move_aside, write_text
from common.runs.folder import check_settings
from common.runs.kinds import latest
from common.runs.records import iterate


def make_scenes(config: ResearchConfig) -> None:
    """Make the scenes of each label error, which differ only in their labels; existing scenes are kept.

    Raises:
        UserError: if a folder holds other scenes, more of them too: the study would train on all of them.
    """
    for error in config.study.label_errors:
        study, size = config.study, (config.data.image_h, config.data.image_w)
        folder = str(scenes_folder(config, error))
        collection = synthesize.Collection(folder, study.scenes, study.form, study.scenes_seed, error, *size)
        synthesize.main(collection, exactly=True)


def inference_of(folder: Path) -> Optional[Inference]:
    """Read the record of a run's inference; None if the run has not finished, which writing its report marks."""
    if not (folder / "report.md").is_file():
        return None
    return latest(Inference, iterate(folder / "metrics.jsonl", Inference.kind))


def run_steps(config: ResearchConfig) -> list[str]:
    """Run the steps that are not done yet.

    Returns:
        The names of the steps that failed.

    Raises:
        UserError: if a run in the folder has other settings than the study has now.
    """
    folder = Path(config.output.folder).expanduser()
    threads = max(len(os.sched_getaffinity(0)) // config.study.at_once, 1)
    every, logs = steps(config), folder / "logs"
    todo = [step for step in every if not _done(config, step, threads)]
    if len(todo) < len(every):
        print(f"{len(every) - len(todo)} of {len(every)} runs are done already", flush=True)
    make_folder(logs)
    failed: list[str] = []
    number = len(every) - len(todo)

    def done(job: Job, problem: str) -> None:
        nonlocal number
        number += 1
        if not problem and inference_of(folder / job.name) is None:
            problem = f"ended without a valid record of its inference; see {job.log}"
        if problem:
            failed.append(job.name)
        print(f"{number} of {len(every)}: {job.name}: {problem or _summary(folder / job.name)}", flush=True)

    for command in ("run", "infer"):  # further inferences need the trained networks
        jobs = [_job(config, step, threads) for step in todo if step.command == command]
        run_all(jobs, config.study.at_once, done)
    return failed


def _done(config: ResearchConfig, step: Step, threads: int) -> bool:
    folder = Path(config.output.folder).expanduser() / step.name
    if inference_of(folder) is None:
        return False
    # The number of threads depends on the machine and affects speed only.
    check_settings(folder / "config.yaml", settings_of(config, overrides(config, step, threads)), ("threads",))
    return True


def _job(config: ResearchConfig, step: Step, threads: int) -> Job:
    """Make the process of a step, with its settings in a file beside its log.

    A run that was interrupted is resumed if it has a checkpoint; otherwise its folder is moved aside.

    Raises:
        UserError: if a process is running in it.
    """
    folder = Path(config.output.folder).expanduser()
    values = overrides(config, step, threads)
    file = folder / "logs" / f"{step.name}.json"
    write_text(file, json.dumps(settings_of(config, values).model_dump(mode="json")))
    command = [sys.executable, "-m", "cloudmask", step.command, "--config", str(file)]
    run_folder = folder / step.name
    if step.command == "run" and any(run_folder.glob("checkpoints/step-*")):
        command.append("--resume")
    else:
        move_aside(run_folder)
    return Job(step.name, command, folder / "logs" / f"{step.name}.log")


def _summary(folder: Path) -> str:
    """A run's accuracies in a line."""
    record = inference_of(folder)
    assert record is not None
    accuracies = {"labels": accuracy(record.scores, NETWORK), "truth": accuracy(truth_of(record), NETWORK)}
    known = [f"{value:.4f} against the {judge}" for judge, value in accuracies.items() if not math.isnan(value)]
    return f"accuracy {', '.join(known) or 'not known'}"


def accuracy(scores: Masks, mask: str) -> float:
    """The pixel accuracy of a mask in a record's scores, which may be damaged; NaN if it is not there."""
    value = scores.get(mask, {}).get("pixel_accuracy", math.nan)
    return value if 0 <= value <= 1 else math.nan


def truth_of(inference: Inference) -> Masks:
    """An inference's scores against the truth; empty if it is not known."""
    truth = inference.against_truth()
    return truth.scores if truth else {}

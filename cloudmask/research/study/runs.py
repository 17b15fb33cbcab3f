"""The runs of a study: processes of their own, each with an ordinary run folder.

Runs that are done are not repeated: however a study was stopped, the same command resumes it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Optional

from cloudmask.research.config import ResearchConfig
from cloudmask.research.study.plan import Step, overrides, scenes_folder, settings_of, steps
from cloudmask.tools import synthesize
from common.errors import UserError
from common.launching.processes import Job, run_all
from common.runs.files import move_aside
from common.runs.folder import check_settings
from common.runs.records import read_records


def make_scenes(config: ResearchConfig) -> None:
    """Make the scenes of each label error, which differ only in their labels; existing scenes are kept."""
    for error in config.study.label_errors:
        study, size = config.study, (config.data.image_h, config.data.image_w)
        folder = str(scenes_folder(config, error))
        synthesize.main(synthesize.Collection(folder, study.scenes, study.form, study.scenes_seed, error, *size))


def inference_of(folder: Path) -> Optional[dict]:
    """Read the record of a run's inference; None if the run has not finished, which writing its report marks."""
    if not (folder / "report.md").is_file():
        return None
    inferences = [record for record in read_records(folder / "metrics.jsonl") if record["kind"] == "inference"]
    return inferences[-1] if inferences else None


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
    logs.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    number = len(every) - len(todo)

    def done(job: Job, problem: str) -> None:
        nonlocal number
        number += 1
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
    """
    folder = Path(config.output.folder).expanduser()
    values = overrides(config, step, threads)
    file = folder / "logs" / f"{step.name}.json"
    file.write_text(json.dumps(settings_of(config, values).model_dump(mode="json")), encoding="utf-8")
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
    if record is None:
        raise UserError(f"{folder}: the run ended without an inference; see the logs beside this folder")
    labels = record["scores"]["network"]["pixel_accuracy"]
    truth = record["truth"]["scores"]["network"]["pixel_accuracy"]
    return f"accuracy {labels:.4f} against the labels, {truth:.4f} against the truth"

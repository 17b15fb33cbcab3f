"""The runs of a study as processes of their own, each in an ordinary run folder. What is done is not done again: a
study that was stopped, however it was, goes on where it was when the same command is given.
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
    """Scenes of each label error, the same but for their labels; those that are there are kept. Raises UserError."""
    for error in config.study.label_errors:
        study, size = config.study, (config.data.image_h, config.data.image_w)
        folder = str(scenes_folder(config, error))
        synthesize.main(synthesize.Collection(folder, study.scenes, study.form, study.scenes_seed, error, *size))


def inference_of(folder: Path) -> Optional[dict]:
    """The record of a run's inference; None before the run has come to its end, which is its report."""
    if not (folder / "report.md").is_file():
        return None
    found = [record for record in read_records(folder / "metrics.jsonl") if record["kind"] == "inference"]
    return found[-1] if found else None


def run_steps(config: ResearchConfig) -> list[str]:
    """Do what is not done yet; the names of the steps that failed.

    Raises UserError if a run in the folder was made with other settings than are asked for now.
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
        print(f"{number} of {len(every)}: {job.name}: {problem or _said(folder / job.name)}", flush=True)

    for command in ("run", "infer"):  # what is trained first is scored once more afterwards
        jobs = [_job(config, step, threads) for step in todo if step.command == command]
        run_all(jobs, config.study.at_once, done)
    return failed


def _done(config: ResearchConfig, step: Step, threads: int) -> bool:
    folder = Path(config.output.folder).expanduser() / step.name
    if inference_of(folder) is None:
        return False
    # The number of threads is the machine's, and a matter of speed.
    check_settings(folder / "config.yaml", settings_of(config, overrides(config, step, threads)), ("threads",))
    return True


def _job(config: ResearchConfig, step: Step, threads: int) -> Job:
    """With the whole of the study's settings in a file beside its log. Makes room for a run that was broken off before
    it could be gone on with."""
    folder = Path(config.output.folder).expanduser()
    values = overrides(config, step, threads)
    file = folder / "logs" / f"{step.name}.json"
    file.write_text(json.dumps(settings_of(config, values).model_dump(mode="json")), encoding="utf-8")
    command = [sys.executable, "-m", "cloudmask", step.command, "--config", str(file)]
    place = folder / step.name
    if step.command == "run" and any(place.glob("checkpoints/step-*")):
        command.append("--resume")
    else:
        move_aside(place)
    return Job(step.name, command, folder / "logs" / f"{step.name}.log")


def _said(folder: Path) -> str:
    """What a run gave, in a line."""
    record = inference_of(folder)
    if record is None:
        raise UserError(f"{folder}: the run ended without an inference; see the logs beside it")
    labels = record["scores"]["network"]["pixel_accuracy"]
    truth = record["truth"]["scores"]["network"]["pixel_accuracy"]
    return f"accuracy {labels:.4f} against the labels, {truth:.4f} against the truth"

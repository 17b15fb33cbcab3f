"""The tables that procurements and benchmark papers ask for, from runs (common.report.mlperf_logs.RunLog).

ESIF: the form of NREL's procurement benchmark; NERSC: time to 16 epochs, as in the NERSC-10 benchmark; EPCC: its notes
on DeepCAM. A figure that a log does not hold is a dash.
"""

from typing import Any, Callable, NamedTuple, Optional

import numpy as np
from rich.table import Table

from common.report.mlperf_logs import RunLog, finite
from common.report.tables import table

NERSC_IOU = 0.80  # to which NERSC-10 wants a submission trained


class Inference(NamedTuple):
    """What a form needs of a run folder's record of its inference."""

    seconds_per_scene: Optional[float] = None
    accuracy: Optional[float] = None
    against_truth: Optional[float] = None  # where that is known besides the labels

    @classmethod
    def of(cls, record: dict) -> "Inference":
        """A record may be a stranger's: what is not a number there is not known."""
        score = ("scores", "network", "pixel_accuracy")
        return cls(finite(record.get("time_per_inference")), _number(record, *score), _number(record, "truth", *score))


def _number(record: dict, *keys: str) -> Optional[float]:
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return finite(value)


class Asked(NamedTuple):
    """What the tables are form for. target: a score, None takes what the log says. epochs: for the time to so many.
    inferences: a run folder's record of its inference, by the run's name, where it has one."""

    target: Optional[float] = None
    epochs: int = 16
    inferences: dict[str, Inference] = {}  # noqa: RUF012 - never written to


def show(value: Any, form: str = "") -> str:
    if value is None:
        return "-"
    try:
        return format(value, form) if form else str(value)
    except (TypeError, ValueError, OverflowError):  # a log may hold words or lists where a number belongs
        return str(value)


def gpus(run: RunLog) -> Optional[int]:
    per_node = run.number("accelerators_per_node")
    return int(per_node) * run.nodes if per_node is not None and run.nodes else None


def target_of(run: RunLog, target: Optional[float]) -> Optional[float]:
    """The one asked for, else the one that the run says it reached, else the benchmark's."""
    if target is not None:
        return target
    return run.number("target_accuracy_reached") or (run.benchmark.target if run.benchmark else None)


def minutes_to_target(run: RunLog, target: Optional[float]) -> Optional[float]:
    """From run_start to the evaluation that was the first at the target; None for a run that was resumed."""
    if run.resumed:
        return None
    seconds = run.between(run.first("run_start"), run.reached(target_of(run, target)))
    return None if seconds is None else seconds / 60


def epochs_to_target(run: RunLog, target: Optional[float]) -> Optional[int]:
    event = run.reached(target_of(run, target))
    return event.epoch if event else None


def best_score(run: RunLog) -> Optional[float]:
    return max((event.value for event in run.evaluations()), default=None)


def per_rank(value: Optional[float], run: RunLog) -> Optional[float]:
    return value / run.ranks if value and run.ranks else None


def runs_table(runs: list, asked: Asked) -> Table:
    """Everything a run's log tells, a column per run."""
    target, epochs = asked.target, asked.epochs
    rates = {run.name: (run.samples_per_second(), run.samples_per_second(True)) for run in runs}
    best = {run.name: best_score(run) for run in runs}
    status = {run.name: run.status for run in runs}
    rows = {
        "benchmark": lambda r: show(r.value("submission_benchmark")),
        "organisation": lambda r: show(r.value("submission_org")),
        "division": lambda r: show(r.value("submission_division")),
        "rules": lambda r: show(r.value("rules")),
        "seed": lambda r: show(r.value("seed")),
        "nodes": lambda r: show(r.nodes),
        "accelerators per node": lambda r: show(r.value("accelerators_per_node")),
        "ranks": lambda r: show(r.ranks),
        "local batch": lambda r: show(r.local_batch),
        "accumulation": lambda r: show(r.accumulation),
        "global batch": lambda r: show(r.global_batch),
        "samples per update": lambda r: show(r.samples_per_update),
        "samples per statistic": lambda r: show(r.samples_per_statistic),
        "shuffle": lambda r: show(r.value("shuffle_mode")),
        "optimizer": lambda r: show(r.value("opt_name")),
        "schedule": lambda r: show(r.value("scheduler_type")),
        "start_lr": lambda r: show(r.value("opt_lr", "opt_base_learning_rate"), "g"),
        "init, s": lambda r: show(r.interval("init"), ".1f"),
        "staging, s": lambda r: show(r.interval("staging"), ".1f"),
        "run, s": lambda r: show(r.interval("run"), ".1f"),
        "status": lambda r: show(status[r.name]),
        "epochs": lambda r: show(len(r.epochs()) or None),
        "target": lambda r: show(target_of(r, target), "g"),
        "first epoch at the target": lambda r: show(epochs_to_target(r, target)),
        "time to target, min": lambda r: show(minutes_to_target(r, target), ".3f"),
        f"time to {epochs} epochs, s": lambda r: show(r.time_to_epochs(epochs), ".1f"),
        "samples/s": lambda r: show(rates[r.name][0], ".1f"),
        "samples/s per rank": lambda r: show(per_rank(rates[r.name][0], r), ".2f"),
        "samples/s without evaluation": lambda r: show(rates[r.name][1], ".1f"),
        "samples/s as logged, median": lambda r: show(r.logged_samples_per_second(), ".1f"),
        "last evaluation": lambda r: show(r.evaluations()[-1].value if r.evaluations() else None, ".4f"),
        "best evaluation": lambda r: show(best[r.name], ".4f"),
    }
    form = table("Runs", "", *(run.name for run in runs))
    for title, value in rows.items():
        form.add_row(title, *(value(run) for run in runs))
    form.caption = "samples/s: train_samples by the time of the finished epochs, which the evaluation is part of."
    return form


def esif_table(runs: list, asked: Asked) -> Table:
    form = table(
        "ESIF form",
        "Run",
        "Run\nType",
        "Nodes\nused",
        "Accelerators\nper node",
        "Local\nBatch Size",
        "LR\nScheduler",
        "Start\nLR",
        "Optimizer",
        "Time Required\n(minutes)",
        "Epochs\nRequired",
    )
    for run in runs:
        form.add_row(
            run.name,
            run_type(run),
            show(run.nodes),
            show(run.value("accelerators_per_node")),
            show(run.local_batch),
            show(run.value("scheduler_type")),
            show(run.value("opt_lr", "opt_base_learning_rate"), "g"),
            show(run.value("opt_name")),
            show(minutes_to_target(run, asked.target), ".2f"),
            show(epochs_to_target(run, asked.target)),
        )
    form.caption = (
        "Run Type: that of the rules that the run was held to. A baseline is by ESIF's page a fork of the PyTorch "
        "program, so a run of this one with the baseline's settings is at best a ported one."
    )
    return form


def run_type(run: RunLog) -> str:
    """As the log's rule set calls it; a log of a program without rule sets has only MLPerf's division."""
    kind = run.value("run_type")
    return show(kind) if kind is not None else f"division {show(run.value('submission_division'))}"


def nersc_table(runs: list, asked: Asked) -> Table:
    form = table(
        "NERSC form",
        "Implementation",
        "Nodes",
        f"Benchmark time to\n{asked.epochs} epochs (s)",
        "Global batch,\nan update",
        "IoU\nreached",
        f"IoU >\n{NERSC_IOU:.2f}",
    )
    for run in runs:
        best = best_score(run)
        form.add_row(
            run.name,
            show(run.nodes),
            show(run.time_to_epochs(asked.epochs), ".1f"),
            show(run.samples_per_update),
            show(best, ".4f"),
            "-" if best is None else "yes" if best > NERSC_IOU else "no",
        )
    form.caption = "NERSC-10 asks for a global batch of 2048 without accumulation, and for training to IoU > 0.80."
    return form


def epcc_table(runs: list, asked: Asked) -> Table:
    form = table(
        "EPCC form",
        "Run",
        "GPUs",
        "Local batch",
        "Accumulation",
        "Epoch time (s)",
        f"Time to {asked.epochs} epochs (s)",
        "Converging",
    )
    for run in runs:
        seconds = [whole for _, whole, _ in run.epochs()]
        form.add_row(
            run.name,
            show(gpus(run)),
            show(run.local_batch),
            show(run.accumulation),
            show(float(np.median(seconds)) if seconds else None, ".2f"),
            show(run.time_to_epochs(asked.epochs), ".1f"),
            _converging(run, asked.target),
        )
    form.caption = "Epoch time: the median. Converging: reached the target; else whether the last score is the best."
    return form


def _converging(run: RunLog, target: Optional[float]) -> str:
    scores = [event.value for event in run.evaluations()]
    if run.reached(target_of(run, target)):
        return "yes, to the target"
    if len(scores) < 2:
        return "-"
    return "rising" if scores[-1] >= max(scores) else "no"


def inference_table(runs: list, asked: Asked) -> Table:
    own = {run.name: asked.inferences.get(run.name, Inference()) for run in runs}
    known = any(inference.against_truth is not None for inference in own.values())
    form = table(
        f"{runs[0].benchmark.title} form",
        "Run",
        "Nodes",
        "GPUs",
        "Ranks",
        "Time per epoch (s)",
        "Time per inference (s)",
        "Accuracy",
        *(["Accuracy against truth"] if known else []),
    )
    for run in runs:
        seconds = [whole for _, whole, _ in run.epochs()]
        inference = own[run.name]
        accuracy = inference.accuracy
        if accuracy is None and run.evaluations():
            accuracy = run.evaluations()[-1].value
        form.add_row(
            run.name,
            show(run.nodes),
            show(gpus(run)),
            show(run.ranks),
            show(float(np.median(seconds)) if seconds else None, ".2f"),
            show(inference.seconds_per_scene, ".3f"),
            show(accuracy, ".4f"),
            *([show(inference.against_truth, ".4f")] if known else []),
        )
    return form


# By the names that common.benchmarks gives them. A new form is a function and an entry.
FORMS: dict[str, Callable[[list, Asked], Table]] = {
    "esif": esif_table,
    "nersc": nersc_table,
    "epcc": epcc_table,
    "inference": inference_table,
}


def problems_table(runs: list) -> Optional[Table]:
    form = table("What is odd about these logs", "run", "what", text=True)
    for run in runs:
        for problem in run.problems:
            form.add_row(run.name, problem)
    return form if form.row_count else None

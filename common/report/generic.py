"""Figures and tables of runs of any benchmark, from their logs (common.report.logs.RunLog).

A figure that a log does not hold is a dash.
"""

from typing import Optional

from rich.table import Table

from common.report.extension import extension_of
from common.report.logs import Event, RunLog
from common.report.options import Options, show
from common.report.tables import table


def gpus(run: RunLog) -> Optional[int]:
    per_node = run.number("accelerators_per_node")
    return int(per_node) * run.nodes if per_node is not None and run.nodes else None


def target_of(run: RunLog, target: Optional[float]) -> Optional[float]:
    """The one asked for, else the one that the run says it reached, else the benchmark's."""
    if target is not None:
        return target
    return run.number("target_accuracy_reached") or (run.benchmark.target if run.benchmark else None)


def reached(run: RunLog, target: Optional[float]) -> Optional[Event]:
    """The first evaluation at the target. A run that says it was aborted has not reached its own target, whatever it
    logged; mlperf-logging's checker and summary count it (4.1.68)."""
    if target is None and run.status not in (None, "success"):
        return None
    return run.reached(target_of(run, target))


def minutes_to_target(run: RunLog, target: Optional[float]) -> Optional[float]:
    """From run_start to the evaluation that was the first at the target; None for a run that was resumed."""
    if run.resumed:
        return None
    seconds = run.between(run.first("run_start"), reached(run, target))
    return None if seconds is None else seconds / 60


def epochs_to_target(run: RunLog, target: Optional[float]) -> Optional[int]:
    event = reached(run, target)
    return event.epoch if event and run.counts_epochs else None


def best_score(run: RunLog) -> Optional[float]:
    return max((event.value for event in run.evaluations()), default=None)


def per_rank(value: Optional[float], run: RunLog) -> Optional[float]:
    return value / run.ranks if value and run.ranks else None


def runs_table(runs: list, options: Options) -> Table:
    """Everything a run's log tells, a column per run."""
    target, epochs = options.target, options.epochs
    rates = {run.name: (run.samples_per_second(), run.samples_per_second(True)) for run in runs}
    best = {run.name: best_score(run) for run in runs}
    ending = {run.name: run.ending for run in runs}
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
        "shuffle": lambda r: show(r.value("shuffle_mode")),
        "optimizer": lambda r: show(r.value("opt_name")),
        "schedule": lambda r: show(r.value("scheduler_type")),
        "start_lr": lambda r: show(r.value("opt_lr", "opt_base_learning_rate"), "g"),
        "init, s": lambda r: show(r.interval("init"), ".1f"),
        "staging, s": lambda r: show(r.interval("staging"), ".1f"),
        "run, s": lambda r: show(r.interval("run"), ".1f"),
        "status": lambda r: show(ending[r.name]),
        "epochs": lambda r: show(len(r.epochs()) or None if r.counts_epochs else None),
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
    for benchmark in dict.fromkeys(run.benchmark for run in runs):
        for title, value in extension_of(benchmark).rows.items():
            cells = [value(run) for run in runs]
            if any(cell != "-" for cell in cells):
                form.add_row(title, *cells)
    form.caption = (
        "samples/s: updates times their samples by the time of the finished epochs, which the evaluation is part of."
    )
    return form


def problems_table(runs: list) -> Optional[Table]:
    form = table("What is odd about these logs", "run", "what", text=True)
    for run in runs:
        for problem in run.problems:
            form.add_row(run.name, problem)
    return form if form.row_count else None

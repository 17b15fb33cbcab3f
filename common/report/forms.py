"""The tables that procurements and benchmark papers ask for, from runs (common.report.mlperf_logs.RunLog).

ESIF: the form of NREL's procurement benchmark; NERSC: time to 16 epochs, as in the NERSC-10 benchmark; EPCC: its notes
on DeepCAM. A figure that a log does not hold is a dash.
"""

from collections import defaultdict
from typing import Any, Optional

import numpy as np
from rich.table import Table

from common.report.mlperf_logs import RunLog
from common.report.tables import table


def show(value: Any, form: str = "") -> str:
    if value is None:
        return "-"
    return format(value, form) if form and not isinstance(value, str) else str(value)


def gpus(run: RunLog) -> Optional[int]:
    on_a_node = run.value("accelerators_per_node")
    return on_a_node * run.nodes if on_a_node is not None and run.nodes else None


def target_of(run: RunLog, target: Optional[float]) -> Optional[float]:
    """The one asked for, else the one that the run says it reached, else DeepCAM's 0.82."""
    if target is not None:
        return target
    return run.value("target_accuracy_reached") or (0.82 if run.value("submission_benchmark") == "deepcam" else None)


def minutes_to_target(run: RunLog, target: Optional[float]) -> Optional[float]:
    """From run_start to the evaluation that was the first at the target; None for a run that was resumed."""
    if run.resumed:
        return None
    seconds = run.between(run.first("run_start"), run.reached(target_of(run, target)))
    return None if seconds is None else seconds / 60


def epochs_to_target(run: RunLog, target: Optional[float]) -> Optional[int]:
    event = run.reached(target_of(run, target))
    return event.epoch if event else None


def _per_rank(value: Optional[float], run: RunLog) -> Optional[float]:
    return value / run.ranks if value and run.ranks else None


def runs_table(runs: list, target: Optional[float], epochs: int) -> Table:
    """Everything a run's log tells, a column a run."""
    rates = {run.name: (run.samples_per_second(), run.samples_per_second(True)) for run in runs}
    best = {run.name: max((event.value for event in run.evaluations()), default=None) for run in runs}
    status = {run.name: (run.first("run_stop").metadata if run.first("run_stop") else {}).get("status") for run in runs}
    rows = {
        "benchmark": lambda r: show(r.value("submission_benchmark")),
        "organisation": lambda r: show(r.value("submission_org")),
        "division": lambda r: show(r.value("submission_division")),
        "nodes": lambda r: show(r.nodes),
        "accelerators a node": lambda r: show(r.value("accelerators_per_node")),
        "ranks": lambda r: show(r.ranks),
        "local batch": lambda r: show(r.local_batch),
        "accumulation": lambda r: show(r.accumulation),
        "global batch": lambda r: show(r.global_batch),
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
        "samples/s a rank": lambda r: show(_per_rank(rates[r.name][0], r), ".2f"),
        "samples/s without evaluation": lambda r: show(rates[r.name][1], ".1f"),
        "samples/s as logged, median": lambda r: show(r.logged_samples_per_second(), ".1f"),
        "last evaluation": lambda r: show(r.evaluations()[-1].value if r.evaluations() else None, ".4f"),
        "best evaluation": lambda r: show(best[r.name], ".4f"),
    }
    made = table("Runs", "", *(run.name for run in runs))
    for title, value in rows.items():
        made.add_row(title, *(value(run) for run in runs))
    made.caption = "samples/s: train_samples by the time of the finished epochs, which the evaluation is part of."
    return made


def esif_table(runs: list, target: Optional[float]) -> Table:
    made = table(
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
        division = run.value("submission_division")
        made.add_row(
            run.name,
            {"closed": "baseline", "open": "optimized"}.get(division, show(division)),
            show(run.nodes),
            show(run.value("accelerators_per_node")),
            show(run.local_batch),
            show(run.value("scheduler_type")),
            show(run.value("opt_lr", "opt_base_learning_rate"), "g"),
            show(run.value("opt_name")),
            show(minutes_to_target(run, target), ".2f"),
            show(epochs_to_target(run, target)),
        )
    made.caption = "Run Type from the log's division: closed is baseline, open is optimized."
    return made


def nersc_table(runs: list, epochs: int) -> Table:
    made = table("NERSC form", "Implementation", "Nodes", f"Benchmark time to {epochs} epochs (s)")
    for run in runs:
        made.add_row(run.name, show(run.nodes), show(run.time_to_epochs(epochs), ".1f"))
    return made


def epcc_table(runs: list, target: Optional[float], epochs: int) -> Table:
    made = table(
        "EPCC form",
        "Run",
        "GPUs",
        "Local batch",
        "Accumulation",
        "Epoch time (s)",
        f"Time to {epochs} epochs (s)",
        "Converging",
    )
    for run in runs:
        seconds = [whole for _, whole, _ in run.epochs()]
        made.add_row(
            run.name,
            show(gpus(run)),
            show(run.local_batch),
            show(run.accumulation),
            show(float(np.median(seconds)) if seconds else None, ".2f"),
            show(run.time_to_epochs(epochs), ".1f"),
            _converging(run, target),
        )
    made.caption = "Epoch time: the median. Converging: reached the target; else whether the last score is the best."
    return made


def _converging(run: RunLog, target: Optional[float]) -> str:
    scores = [event.value for event in run.evaluations()]
    if run.reached(target_of(run, target)):
        return "yes, to the target"
    if len(scores) < 2:
        return "-"
    return "rising" if scores[-1] >= max(scores) else "no"


def cloudmask_table(runs: list, inferences: dict) -> Table:
    """inferences: a run folder's record of its inference, by the run's name, where it has one."""
    made = table(
        "CloudMask form", "Run", "Nodes", "GPUs", "Ranks", "Time per epoch (s)", "Time per inference (s)", "Accuracy"
    )
    for run in runs:
        seconds = [whole for _, whole, _ in run.epochs()]
        found = inferences.get(run.name, {})
        accuracy = found.get("scores", {}).get("network", {}).get("pixel_accuracy")
        if accuracy is None and run.evaluations():
            accuracy = run.evaluations()[-1].value
        made.add_row(
            run.name,
            show(run.nodes),
            show(gpus(run)),
            show(run.ranks),
            show(float(np.median(seconds)) if seconds else None, ".2f"),
            show(found.get("time_per_inference"), ".3f"),
            show(accuracy, ".4f"),
        )
    return made


def scaling_groups(runs: list) -> list:
    """Lists of runs that differ in size: of one benchmark, by one organisation, on nodes of one kind."""
    groups = defaultdict(list)
    for run in runs:
        if run.samples_per_second(True) and run.ranks:
            key = ("submission_benchmark", "submission_org", "accelerators_per_node", "precision_mode")
            groups[tuple(run.value(name) for name in key)].append(run)
    return [group for group in groups.values() if len({run.ranks for run in group}) > 1]


def scaling_points(runs: list) -> tuple:
    """(unit, kind, {units: median samples/s}) of one of scaling_groups' lists.

    unit: nodes where they differ, else ranks. kind: strong where the global batch is the same in all, weak where the
    local one is, else mixed.
    """
    nodes = len({run.nodes for run in runs}) > 1 and all(run.nodes for run in runs)
    rates = defaultdict(list)
    for run in runs:
        rates[run.nodes if nodes else run.ranks].append(run.samples_per_second(True))
    same_global = len({run.global_batch for run in runs}) == 1
    same_local = len({(run.local_batch, run.accumulation) for run in runs}) == 1
    kind = "strong" if same_global else "weak" if same_local else "mixed"
    return ("nodes" if nodes else "ranks"), kind, {n: float(np.median(rates[n])) for n in sorted(rates)}


def scaling_title(runs: list) -> str:
    benchmark, organisation = runs[0].value("submission_benchmark"), runs[0].value("submission_org")
    return f"Scaling, {scaling_points(runs)[1]}: {show(benchmark)}, {show(organisation)}"


def scaling_table(runs: list) -> Table:
    """Speed-up and efficiency over the smallest of one of scaling_groups' lists."""
    unit, kind, rates = scaling_points(runs)
    first = min(rates)
    said = {
        "strong": "the same global batch in all",
        "weak": "the same local batch in all",
        "mixed": "neither the global nor the local batch is the same in all, so this is no clean comparison",
    }[kind]
    made = table(scaling_title(runs), unit, "samples/s", "speed-up", "ideal", "efficiency")
    for size, rate in rates.items():
        speedup, ideal = rate / rates[first], size / first
        made.add_row(str(size), f"{rate:.2f}", f"{speedup:.2f}", f"{ideal:.2f}", f"{100 * speedup / ideal:.1f} %")
    missing = [str(size) for size in (2 * first, 4 * first) if size not in rates]
    made.caption = f"{said}; samples/s of the training without evaluation" + (
        f"; no run on {' and '.join(missing)} {unit}" if missing else ""
    )
    made.min_width = 80
    return made


def olympic_table(runs: list, target: Optional[float]) -> Optional[Table]:
    """MLPerf's score of several runs of one kind: the mean without the fastest and the slowest of at least five."""
    kinds = defaultdict(list)
    for run in runs:
        kind = (run.value("submission_benchmark"), run.value("submission_org"), run.ranks, run.global_batch)
        kinds[(*kind, run.value("opt_name"))].append(run)
    made = table("Several runs of one kind", "kind", "runs", "at the target", "olympic mean, min")
    for (benchmark, organisation, ranks, batch, optimizer), alike in kinds.items():
        if len(alike) < 2:
            continue
        times = [minutes_to_target(run, target) for run in alike]
        # A run that misses the target is the slowest; a second one leaves no mean.
        ordered = sorted(np.inf if time is None else time for time in times)
        mean = float(np.mean(ordered[1:-1])) if len(ordered) >= 5 else None
        score = "needs 5 runs" if mean is None else f"{mean:.3f}" if np.isfinite(mean) else "two runs missed"
        name = f"{show(benchmark)}, {show(organisation)}, {show(ranks)} ranks, batch {show(batch)}, {show(optimizer)}"
        made.add_row(name, str(len(alike)), str(sum(time is not None for time in times)), score)
    return made if made.row_count else None


def problems_table(runs: list) -> Optional[Table]:
    made = table("What is odd about these logs", "run", "what", text=True)
    for run in runs:
        for problem in run.problems:
            made.add_row(run.name, problem)
    return made if made.row_count else None

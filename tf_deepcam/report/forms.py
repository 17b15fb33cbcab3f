"""The forms in which procurements ask for DeepCAM's results. A figure that a log does not hold is a dash.

ESIF: the form of NREL's procurement benchmark. NERSC: time to 16 epochs, as in the NERSC-10 benchmark. EPCC: its notes
on DeepCAM.
"""

from typing import Optional

import numpy as np
from rich.table import Table

from common.report.generic import best_score, epochs_to_target, gpus, minutes_to_target, reached
from common.report.logs import RunLog
from common.report.options import Options, show
from common.report.tables import table

NERSC_IOU = 0.80  # to which NERSC-10 wants a submission trained


def samples_per_statistic(run: RunLog) -> Optional[float]:
    """Over how many samples a run took its batch statistics."""
    group = run.whole("batchnorm_group_size")
    return run.local_batch * group if run.local_batch and group else None


def esif_table(runs: list, options: Options) -> Table:
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
            show(minutes_to_target(run, options.target), ".2f"),
            show(epochs_to_target(run, options.target)),
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


def nersc_table(runs: list, options: Options) -> Table:
    form = table(
        "NERSC form",
        "Implementation",
        "Nodes",
        f"Benchmark time to\n{options.epochs} epochs (s)",
        "Global batch,\nan update",
        "IoU\nreached",
        f"IoU >\n{NERSC_IOU:.2f}",
    )
    for run in runs:
        best = best_score(run)
        form.add_row(
            run.name,
            show(run.nodes),
            show(run.time_to_epochs(options.epochs), ".1f"),
            show(run.samples_per_update),
            show(best, ".4f"),
            "-" if best is None else "yes" if best > NERSC_IOU else "no",
        )
    form.caption = "NERSC-10 asks for a global batch of 2048 without accumulation, and for training to IoU > 0.80."
    return form


def epcc_table(runs: list, options: Options) -> Table:
    form = table(
        "EPCC form",
        "Run",
        "GPUs",
        "Local batch",
        "Accumulation",
        "Epoch time (s)",
        f"Time to {options.epochs} epochs (s)",
        "Converging",
    )
    for run in runs:
        seconds = [epoch.seconds for epoch in run.epochs()] if run.counts_epochs else []
        form.add_row(
            run.name,
            show(gpus(run)),
            show(run.local_batch),
            show(run.accumulation),
            show(float(np.median(seconds)) if seconds else None, ".2f"),
            show(run.time_to_epochs(options.epochs), ".1f"),
            _converging(run, options.target),
        )
    form.caption = "Epoch time: the median. Converging: reached the target; else whether the last score is the best."
    return form


def _converging(run: RunLog, target: Optional[float]) -> str:
    scores = [event.value for event in run.evaluations()]
    if reached(run, target):
        return "yes, to the target"
    if len(scores) < 2:
        return "-"
    return "rising" if scores[-1] >= max(scores) else "no"

"""Scaling predictions as a table and a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
from rich.table import Table

from common.report.tables import table
from common.runs.files import save_figure
from common.scaling.model import Job


def prediction_table(predictions: list, measured: dict) -> Table:
    """Make a table of predictions. measured: {ranks: seconds of a step}."""
    rows = table(
        "Predicted training step",
        *("ranks", "allreduce, s", "exposed, s", "stragglers, s", "step, s", "measured, s"),
        *("samples/s", "efficiency", "binds"),
    )
    for prediction in predictions:
        parts = (prediction.allreduce, prediction.exposed, prediction.stragglers, prediction.step)
        rows.add_row(
            str(prediction.ranks),
            *(f"{value:.4f}" for value in parts),
            f"{measured[prediction.ranks]:.4f}" if prediction.ranks in measured else "",
            f"{prediction.samples_per_second:.1f}",
            f"{100 * prediction.efficiency:.1f} %",
            prediction.binds,
        )
    return rows


def draw(predictions: list, measured: dict, job: Job, path: Path) -> None:
    """Draw samples/s, and the parts of a step, over the number of ranks. measured: {ranks: seconds of a step}."""
    ranks = [prediction.ranks for prediction in predictions]
    figure, (rates, times) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    rates.plot(ranks, [n * job.local_batch / job.step for n in ranks], "--", color="grey", label="ideal")
    rates.plot(ranks, [prediction.samples_per_second for prediction in predictions], "-", label="predicted")
    if measured:
        points = [n * job.local_batch / seconds for n, seconds in measured.items()]
        rates.plot(list(measured), points, "o", color="C3", label="measured")
    rates.set_ylabel("samples/s")
    rates.set_yscale("log")
    for name in ("step", "exposed", "stragglers"):
        values = [getattr(prediction, name) for prediction in predictions]
        if any(values):
            times.plot(ranks, values, label={"exposed": "allreduce, not hidden"}.get(name, name))
    times.set_ylabel("seconds of a step")
    for axis in (rates, times):
        axis.set_xscale("log", base=2)
        axis.set_xlabel("ranks")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    save_figure(figure, path, 100)
    plt.close(figure)

"""Predictions as a table and as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
from rich.table import Table

from common.errors import UserError
from common.report.tables import table
from common.scaling.model import Job


def prediction_table(predictions: list, measured: dict) -> Table:
    made = table(
        "Predicted training step",
        *("ranks", "allreduce, s", "exposed, s", "stragglers, s", "step, s", "measured, s"),
        *("samples/s", "efficiency", "binds"),
    )
    for found in predictions:
        made.add_row(
            str(found.ranks),
            *(f"{value:.4f}" for value in (found.allreduce, found.exposed, found.stragglers, found.step)),
            f"{measured[found.ranks]:.4f}" if found.ranks in measured else "",
            f"{found.samples_per_second:.1f}",
            f"{100 * found.efficiency:.1f} %",
            found.binds,
        )
    return made


def draw(predictions: list, measured: dict, job: Job, path: Path) -> None:
    """Samples/s and the parts of a step over ranks."""
    ranks = [found.ranks for found in predictions]
    figure, (rates, times) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    rates.plot(ranks, [n * job.local_batch / job.step for n in ranks], "--", color="grey", label="ideal")
    rates.plot(ranks, [found.samples_per_second for found in predictions], "-", label="predicted")
    if measured:
        points = [n * job.local_batch / seconds for n, seconds in measured.items()]
        rates.plot(list(measured), points, "o", color="C3", label="measured")
    rates.set_ylabel("samples/s")
    rates.set_yscale("log")
    for name in ("step", "exposed", "stragglers"):
        values = [getattr(found, name) for found in predictions]
        if any(values):
            times.plot(ranks, values, label={"exposed": "allreduce, not hidden"}.get(name, name))
    times.set_ylabel("seconds of a step")
    for axis in (rates, times):
        axis.set_xscale("log", base=2)
        axis.set_xlabel("ranks")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    plt.close(figure)

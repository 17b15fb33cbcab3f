"""Scaling predictions as a table and a picture."""

from pathlib import Path

from matplotlib.figure import Figure
from rich.table import Table

from common import figures
from common.report.tables import table
from common.scaling.model import Job, Prediction


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


_PARTS = {"step": "step", "exposed": "allreduce, not hidden", "stragglers": "stragglers"}


def draw(predictions: list[Prediction], measured: dict[int, float], job: Job, target: Path) -> Figure:
    """Draw samples/s, and the parts of a step, over the number of ranks.

    Args:
        predictions: for rising numbers of ranks.
        measured: seconds of a step by number of ranks.
        job: what the predictions are of.
        target: the file to write.

    Returns:
        The figure, of two panels.

    Raises:
        UserError: if the file cannot be written.
    """
    ranks = [prediction.ranks for prediction in predictions]
    with figures.picture(target, (11, 4.2), 1, 2) as (figure, ((rates, times),)):
        ideal = [n * job.local_batch / job.step for n in ranks]
        rates.plot(ranks, ideal, "--", color=figures.QUIET, label="ideal")
        rates.plot(ranks, [prediction.samples_per_second for prediction in predictions], label="predicted")
        if measured:
            points = [n * job.local_batch / seconds for n, seconds in measured.items()]
            rates.plot(list(measured), points, linestyle="", **figures.look(1), label="measured")
        rates.set_title("throughput")
        rates.set_ylabel("samples/s")
        rates.set_yscale("log")
        for number, (name, label) in enumerate(_PARTS.items()):
            values = [getattr(prediction, name) for prediction in predictions]
            if any(values):
                times.plot(ranks, values, **figures.look(number), label=label)
        times.set_title("a training step and what of it is waiting")
        times.set_ylabel("seconds")
        times.set_ylim(bottom=0)
        for axis in (rates, times):
            axis.set_xscale("log", base=2)
            axis.set_xticks([4**power for power in range(16) if 4**power <= ranks[-1]])
            axis.xaxis.set_major_formatter("{x:g}")
            axis.set_xlabel("ranks")
            axis.grid(True)
            axis.legend()
    return figure

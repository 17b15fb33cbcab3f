"""Pictures of runs (common.report.mlperf_logs.RunLog): curves of training, and scaling with the ideal line."""

import io
from typing import Optional

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt

from common.report.mlperf_logs import Event, RunLog, finite
from common.report.scaling import scaling_points, scaling_title

# Title of a row of pictures: the keys of its curves, solid and dashed.
_ROWS = {
    "loss": ("train_loss", "eval_loss"),
    "score": ("train_accuracy", "eval_accuracy"),
    "learning rate": ("learning_rate",),
    "samples/s": ("tracked_stats",),
}
_COLUMNS = ("update", "epoch", "minutes")


def _abscissa(run: RunLog, event: Event, column: str) -> Optional[float]:
    if column == "update":
        return event.step
    if column == "epoch":
        return event.epoch
    seconds = run.between(run.first("run_start"), event)
    return None if seconds is None else seconds / 60


def _ordinate(event: Event) -> Optional[float]:
    return finite(event.value.get("throughput") if isinstance(event.value, dict) else event.value)


def training_curves(runs: list) -> Optional[bytes]:
    """A PNG of loss, score, learning rate and samples/s against update, epoch and time; None if no run has any."""
    if not any(run.all(key) for run in runs for keys in _ROWS.values() for key in keys):
        return None
    figure, axes = plt.subplots(len(_ROWS), len(_COLUMNS), figsize=(13, 12), layout="constrained", sharey="row")
    for row, (title, keys) in zip(axes, _ROWS.items()):
        for axis, column in zip(row, _COLUMNS):
            for number, run in enumerate(runs):
                for key, style in zip(keys, ("-", "--")):
                    points = [(_abscissa(run, event, column), _ordinate(event)) for event in run.all(key)]
                    points = [point for point in points if None not in point]
                    if points:
                        label = f"{run.name}, {'training' if style == '-' else 'evaluation'}"
                        axis.plot(*zip(*points), style, color=f"C{number % 10}", label=label, linewidth=1.2)
            if title == "loss" and axis.lines:
                axis.set_yscale("log")
            axis.set_xlabel(column)
            axis.grid(alpha=0.3)
        row[0].set_ylabel(title)
    handles, labels = axes[0][0].get_legend_handles_labels()
    handles, labels = (handles, labels) if handles else axes[1][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return _png(figure)


def scaling_picture(runs: list) -> bytes:
    """A PNG of the speed-up over nodes or ranks, both logarithmic, with the ideal line; runs: one of scaling_groups."""
    unit, _, rates = scaling_points(runs)
    first = min(rates)
    sizes = list(rates)
    figure, axis = plt.subplots(figsize=(5.5, 4.2), layout="constrained")
    axis.plot(sizes, [size / first for size in sizes], "--", color="grey", label="ideal")
    speedups = [rate / rates[first] for rate in rates.values()]
    axis.plot(sizes, speedups, "o-", label="measured")
    for size, speedup in zip(sizes, speedups):
        axis.annotate(f"{100 * speedup * first / size:.0f} %", (size, speedup), (5, -12), textcoords="offset points")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set_xlabel(unit)
    axis.set_ylabel("speed-up of samples/s")
    axis.set_title(scaling_title(runs))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return _png(figure)


def _png(figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=90)
    plt.close(figure)
    return stream.getvalue()

"""Pictures of a study: accuracy against label error by loss, and accuracy against time by network."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, PercentFormatter

from cloudmask.research.config import ResearchConfig
from cloudmask.research.study.results import Result, accuracy_of, front, spread
from cloudmask.research.study.speed import Cost

_FILL = {"float32": "full", "tf32": "left", "mixed_bfloat16": "none", "mixed_float16": "bottom"}


def draw_losses(config: ResearchConfig, results: list[Result], target: Path) -> None:
    """Draw accuracy against the truth over label error, with a panel for each network and a line for each loss."""
    study = config.study
    count = len(study.networks)
    figure, axes = plt.subplots(1, count, figsize=(1.6 + 5.2 * count, 4.4), layout="constrained", squeeze=False)
    errors = np.array(study.label_errors)
    for axis, network in zip(axes[0], study.networks):
        for number, loss in enumerate(study.losses):
            which = {"network": network, "loss": loss, "precision": study.precisions[0]}
            spreads = [spread(results, "against_truth", label_error=error, **which) for error in study.label_errors]
            beside = errors + 0.003 * (number - (len(study.losses) - 1) / 2)  # so that bars do not cover each other
            means, deviations = (np.array([getattr(each, name) for each in spreads]) for name in ("mean", "deviation"))
            axis.errorbar(beside, means, np.nan_to_num(deviations), marker="o", markersize=4, capsize=3, label=loss)
        labels = [spread(results, "labels", label_error=error).mean for error in study.label_errors]
        axis.plot(errors, labels, color="grey", linestyle="--", label="the labels themselves")
        axis.set_title(f"{network}; seeds: {len(study.seeds)}, bars of one standard deviation")
        axis.set_xlabel("share of labels that are wrong")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_xticks(errors)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("pixel accuracy against the truth")
    axes[0][0].legend(frameon=False)
    figure.savefig(target, dpi=90)
    plt.close(figure)


def draw_networks(config: ResearchConfig, results: list[Result], costs: list[Cost], target: Path) -> None:
    """Draw accuracy against the truth over seconds per scene, and the Pareto front."""
    figure, axis = plt.subplots(figsize=(6.8, 4.6), layout="constrained")
    colours: dict[str, str] = {name: f"C{number}" for number, name in enumerate(config.study.networks)}
    for cost in costs:
        accuracy = accuracy_of(config, results, cost)
        axis.errorbar(
            cost.seconds,
            accuracy.mean,
            np.nan_to_num(accuracy.deviation),
            marker="o",
            markersize=8,
            capsize=3,
            color=colours[cost.network],
            fillstyle=_FILL[cost.precision],
            linestyle="none",
            label=f"{cost.network}, {cost.precision}",
        )
    best = front(config, results, costs)
    axis.plot(
        [cost.seconds for cost in best],
        [accuracy_of(config, results, cost).mean for cost in best],
        color="grey",
        linewidth=1,
        zorder=0,
        label="front",
    )
    axis.set_xscale("log")
    for each in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        each(FuncFormatter(lambda seconds, _: f"{seconds:g}" if f"{seconds:e}"[0] in "125" else ""))
    axis.set_xlabel("seconds per scene of 1200 x 1500 pixels")
    axis.set_ylabel("pixel accuracy against the truth")
    axis.grid(alpha=0.3, which="both")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(target, dpi=90)
    plt.close(figure)

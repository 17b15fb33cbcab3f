"""Pictures of a study: accuracy against label error by loss, and accuracy against time by network."""

import os
from typing import Any, Union

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from cloudmask.research.config import ResearchConfig
from cloudmask.research.study.results import Result, accuracy_of, front, spread
from cloudmask.research.study.speed import Cost
from common import figures

_FILL = {"float32": "full", "tf32": "left", "mixed_bfloat16": "none", "mixed_float16": "bottom"}
_BARS: dict[str, Any] = {"capsize": 3, "elinewidth": 1.2, "markersize": 6}


def draw_losses(config: ResearchConfig, results: list[Result], target: Union[str, os.PathLike]) -> Figure:
    """Draw accuracy against the truth over label error, with a panel for each network and a line for each loss.

    Args:
        config: of the study.
        results: of the study.
        target: the PNG to write.

    Returns:
        The figure.
    """
    study, count = config.study, len(config.study.networks)
    with figures.picture(target, (2.4 + 5.2 * count, 4.4), 1, count, sharey=True) as (figure, axes):
        for axis, network in zip(axes[0], study.networks):
            _draw_losses(axis, config, results, network)
            axis.set_title(network)
        axes[0][0].set_ylabel("pixel accuracy against the truth")
        seeds = f"mean of {len(study.seeds)} seeds,\nbars: a standard deviation" if len(study.seeds) > 1 else "one seed"
        handles, labels = axes[0][-1].get_legend_handles_labels()
        axes[0][-1].legend(
            handles, labels, loc="center left", bbox_to_anchor=(1.01, 0.5), title=seeds, alignment="left"
        )
    return figure


def _draw_losses(axis: Axes, config: ResearchConfig, results: list[Result], network: str) -> None:
    study, errors = config.study, np.array(config.study.label_errors)
    labels = [spread(results, "labels", label_error=error).mean for error in errors]
    axis.plot(errors, labels, color=figures.QUIET, linestyle="--", label="the labels themselves")
    for number, loss in enumerate(study.losses):
        which = {"network": network, "loss": loss, "precision": study.precisions[0]}
        spreads = [spread(results, "against_truth", label_error=error, **which) for error in study.label_errors]
        beside = errors + 0.006 * (number - (len(study.losses) - 1) / 2)  # so that bars do not cover each other
        means, deviations = (np.array([getattr(each, name) for each in spreads]) for name in ("mean", "deviation"))
        axis.errorbar(beside, means, np.nan_to_num(deviations), label=loss, **figures.look(number), **_BARS)
    axis.set_xlabel("share of labels that are wrong")
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.set_xticks(errors)
    axis.grid(True)


def draw_networks(
    config: ResearchConfig, results: list[Result], costs: list[Cost], target: Union[str, os.PathLike]
) -> Figure:
    """Draw accuracy against the truth over seconds per scene, and the front of those that no other beats.

    Args:
        config: of the study.
        results: of the study.
        costs: seconds of each network and precision.
        target: the PNG to write.

    Returns:
        The figure. A network has its colour and mark, a precision its filling.
    """
    looks: dict[str, dict[str, Any]] = {name: figures.look(number) for number, name in enumerate(config.study.networks)}
    with figures.picture(target, (8.6, 4.6)) as (figure, ((axis,),)):
        best = front(config, results, costs)
        axis.plot(
            [cost.seconds for cost in best],
            [accuracy_of(config, results, cost).mean for cost in best],
            color=figures.QUIET,
            linewidth=1,
            zorder=0,
            label="front: none is faster and more accurate",
        )
        for cost in costs:
            accuracy = accuracy_of(config, results, cost)
            axis.errorbar(
                cost.seconds,
                accuracy.mean,
                np.nan_to_num(accuracy.deviation),
                fillstyle=_FILL[cost.precision],
                linestyle="none",
                label=f"{cost.network}, {cost.precision}",
                **{**_BARS, "markersize": 8},
                **looks[cost.network],
            )
        axis.set_xscale("log")
        for each in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
            each(FuncFormatter(lambda seconds, _: f"{seconds:g}" if f"{seconds:e}"[0] in "125" else ""))
        axis.set_xlabel("seconds per scene of 1200 x 1500 pixels (to the left is faster)")
        axis.set_ylabel("pixel accuracy against the truth")
        axis.grid(True, which="both")
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure

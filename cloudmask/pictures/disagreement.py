"""The picture of a dispute: how much network and labels differ in a scene, where, in what, and who is right."""

import os
from pathlib import Path
from typing import Union

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from scipy.ndimage import uniform_filter

from cloudmask.config import Config
from cloudmask.pictures import panels
from cloudmask.pictures.panels import View
from cloudmask.scoring import LEAST_SHARE, NETWORK, Scores
from common import figures

_WIDTH, _TALL = 3.4, 0.9  # inches of a panel, and of titles, scale and legend
_BOX = 5  # the close-up is this part of the scene's height and width
_LEAST = 48  # pixels of its sides
_KINDS = 8  # bars
_NETWORK_RIGHT, _LABELS_RIGHT = figures.SKY, figures.ORANGE


def draw(scene_path: str, mask_path: Path, scores: Scores, target: Union[str, os.PathLike], config: Config) -> Figure:
    """Draw the whole scene above, with the kinds of pixel, and below the part with most differences from close up.

    Args:
        scene_path: the scene's file or product, with labels.
        mask_path: its mask (cloudmask.masks).
        scores: of its masks.
        target: the PNG to write.
        config: the settings.

    Returns:
        The figure: two rows of four panels if the truth is known, otherwise of three.

    Raises:
        UserError: if a file cannot be read or written.
    """
    view = View.read(scene_path, mask_path, config)
    assert view.labels is not None
    columns = 3 if view.truth is None else 4
    height, width = view.counted.shape
    size = columns * _WIDTH, 2 * (_WIDTH * min(height / width, 2.0) + 0.4) + _TALL
    with figures.picture(target, size, 2, columns) as (figure, (above, below)):
        box = disputed(view)
        close = view.part(*box)
        panels.show_scene(above[0], view, "scene")
        _show_difference(above[1], view)
        for axis in above[:2]:
            _mark(axis, box)
        _show_kinds(above[-1], scores)
        panels.show_scene(below[0], close, f"the frame: {close.counted.shape[0]} x {close.counted.shape[1]} pixels")
        panels.show_probability(below[1], close)
        panels.show_clouds(below[2], close, view.labels[box], "labels")
        if view.truth is not None:
            _show_winner(above[2], view, view.truth)
            panels.show_clouds(below[3], close, view.truth[box], "truth")
        panels.finish(figure, _legend(truth=view.truth is not None), f"{headline(scores)}\n{Path(scene_path).name}")
    return figure


def headline(scores: Scores) -> str:
    """Say how much network and labels differ, and in which kind of pixel most."""
    values, kinds = scores.disagreement(), _shares(scores)
    if not values:
        return "no pixel counts"
    kind = values["kind"]
    return (
        f"network and labels differ in {values['share']:.2%} of pixels: cloud to the network only "
        f"{values['network_only']:.2%}, to the labels only {values['labels_only']:.2%}"
        + (f"; most in {kind}, {kinds[kind]:.2%}" if kind else "")
    )


def disputed(view: View) -> tuple[slice, slice]:
    """Rows and columns of the part of a scene in which network and labels differ most.

    It has the scene's form, a fifth of its sides, and at least 48 pixels.
    """
    differing = ((view.predicted != view.labels) & view.counted).astype(np.float32)
    share = min(1.0, max(1.0 / _BOX, _LEAST / min(differing.shape)))
    sides = [int(share * length) for length in differing.shape]
    density = uniform_filter(differing, sides, mode="constant")
    middle = np.unravel_index(density.argmax(), density.shape)
    starts = [
        min(max(int(centre) - side // 2, 0), length - side)
        for centre, side, length in zip(middle, sides, differing.shape)
    ]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, sides))
    return rows, columns


def _mark(axis: Axes, box: tuple[slice, slice]) -> None:
    rows, columns = box
    corner, width, height = (columns.start, rows.start), columns.stop - columns.start, rows.stop - rows.start
    for colour, thickness in (("white", 3.5), ("black", 1.5)):
        axis.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=thickness))


def _show_difference(axis: Axes, view: View) -> None:
    assert view.labels is not None
    classes = np.select([view.predicted & ~view.labels, ~view.predicted & view.labels], [1, 2], 0)
    colours = (panels.RIGHT, panels.NETWORK_ONLY, panels.LABELS_ONLY)
    panels.show_classes(axis, classes, colours, view.counted, "where they differ")


def _show_winner(axis: Axes, view: View, truth: np.ndarray) -> None:
    differing = (view.predicted != view.labels) & view.counted
    right = view.predicted == truth
    classes = np.select([differing & right, differing & ~right], [1, 2], 0)
    colours = (panels.RIGHT, _NETWORK_RIGHT, _LABELS_RIGHT)
    share = f": the network in {right[differing].mean():.0%}" if differing.any() else ""
    panels.show_classes(axis, classes, colours, view.counted, f"who is right{share}")


def _shares(scores: Scores) -> dict[str, float]:
    """Share of the pixels of each kind in which network and labels differ, the greatest first, but for rare kinds."""
    masks = {kind: masks[NETWORK] for kind, masks in scores.by_stratum().items()}
    least = LEAST_SHARE * scores.counted[NETWORK].pixels if masks else 0.0
    shares = {kind: 1.0 - mask["pixel_accuracy"] for kind, mask in masks.items() if mask["pixels"] >= least}
    return dict(sorted(shares.items(), key=lambda each: -each[1]))


def _show_kinds(axis: Axes, scores: Scores) -> None:
    kinds = list(_shares(scores).items())[:_KINDS]
    bars = {"all pixels": scores.disagreement().get("share", 0.0), **dict(kinds)}
    drawn = axis.barh(list(bars), list(bars.values()), height=0.6, color=["black", *[figures.QUIET] * len(kinds)])
    axis.bar_label(drawn, [f"{share:.1%}" for share in bars.values()], padding=3, fontsize=8)
    axis.set_title("share that differs, by kind of pixel")
    axis.set_xlim(0, 1.25 * max(bars.values()) or 1.0)
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.grid(True, axis="x")


def _legend(*, truth: bool) -> list:
    classes = {
        "cloud": panels.CLOUD,
        "clear": panels.CLEAR,
        "the same": panels.RIGHT,
        "cloud to the network only": panels.NETWORK_ONLY,
        "cloud to the labels only": panels.LABELS_ONLY,
        **({"network right": _NETWORK_RIGHT, "labels right": _LABELS_RIGHT} if truth else {}),
    }
    return [*(figures.patch(colour, name) for name, colour in classes.items()), figures.unknown_patch()]

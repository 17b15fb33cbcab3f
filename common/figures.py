"""The look of all pictures: a style, colours and marks that colour-blind eyes tell apart, and how a file is written.

Nothing here touches matplotlib's pyplot, so that drawing needs no screen, leaves nothing open, and changes neither the
backend nor the style of a notebook that imports this program. A user's own matplotlibrc does not show in the pictures.

Colours are those of Okabe and Ito ("Color universal design", 2008) in an order in which neighbours differ in brightness
too. Colour alone says nothing: lines have marks as well, and areas stand in a legend.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from common.errors import UserError
from common.runs.files import whole as written_whole

BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
COLOURS = (BLUE, VERMILION, SKY, GREEN, PURPLE, ORANGE)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
QUIET = "#767676"  # of what a picture is compared with, such as an ideal
_PAPER, _STRIPES = "#d0d0d0", "#8a8a8a"  # of what is not known

_STYLE: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),
    "grid.color": "#b0b0b0",
    "grid.alpha": 0.4,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.markersize": 5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


@contextmanager
def picture(
    target: Union[str, os.PathLike], size: tuple[float, float], rows: int = 1, columns: int = 1, **subplots: Any
) -> Iterator[tuple[Figure, Any]]:
    """Open a figure in the house's style, and write it when it is drawn.

    Args:
        target: the file, a PNG or what else its name ends in; its folder is made if it is missing.
        size: width and height in inches of 100 pixels.
        rows: of panels; likewise `columns`.
        **subplots: for Figure.subplots.

    Yields:
        The figure and its panels, [rows, columns].

    Raises:
        UserError: if the file cannot be written; one that was there stays as it is.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the backend
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **subplots)
        _write(Path(target), figure)


def _write(target: Path, figure: Figure) -> None:
    form, known = target.suffix[1:].lower() or "png", figure.canvas.get_supported_filetypes()
    if form not in known:
        raise UserError(f"{target}: pictures cannot be written as .{form}; choose one of {', '.join(sorted(known))}")
    content = io.BytesIO()
    figure.savefig(content, format=form)
    with written_whole(target) as file:
        file.write_bytes(content.getbuffer())


def look(number: int) -> dict[str, Any]:
    """Return colour and mark of the line `number`, for matplotlib's plot and errorbar; 42 differ."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def legend_below(figure: Figure) -> None:
    """Set one legend for all panels below them, each label once."""
    entries = {label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4)


def unknown(axis: Axes) -> None:
    """Fill a panel with the pattern that stands for no data, which shows wherever nothing is drawn over it."""
    axis.patch.set(facecolor=_PAPER, hatch="////", edgecolor=_STRIPES, linewidth=0)


def patch(colour: str, label: str) -> Patch:
    """Make an entry of a legend for areas of one colour."""
    return Patch(facecolor=colour, edgecolor=QUIET, linewidth=0.5, label=label)


def unknown_patch(label: str = "no data") -> Patch:
    """Make the entry of a legend for `unknown`."""
    return Patch(facecolor=_PAPER, hatch="////", edgecolor=_STRIPES, linewidth=0.5, label=label)


def bare(axis: Axes) -> None:
    """Take ticks and their numbers away, where an axis counts pixels of no interest."""
    axis.set_xticks([])
    axis.set_yticks([])


def whole(axis: Any) -> None:
    """Number an axis (an Axes' xaxis or yaxis), such as one of epochs or updates, by whole numbers."""
    axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axis.set_major_formatter(ScalarFormatter(useOffset=False))


def from_zero(axis: Axes) -> None:
    """Let y begin at 0, where all values are the same, so that the axis does not magnify rounding."""
    low, high = axis.dataLim.intervaly
    if np.isfinite([low, high]).all() and high - low <= 1e-6 * max(abs(low), abs(high)):
        axis.set_ylim(min(0.0, 1.25 * low), max(0.0, 1.25 * high) or 1.0)

"""A picture of a whole scene to look at quickly: false colours by day, temperature by night, and the mask over it.

Coast lines are the outlines of the product's own land, to the pixel; no map is needed, and none is drawn where the
scene has no flags. The graticule follows the scene's coordinates, over the antimeridian and the poles as well.
"""

import io
from pathlib import Path
from typing import Any, Optional

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from cloudmask.data.ancillary import Ancillary
from cloudmask.pictures import graticule
from cloudmask.pictures.panels import false_colours, thermal
from cloudmask.sen3 import names
from common.data import new_file

_WIDEST = 800  # pixels of a panel
_DPI = 100
_CLOUD, _COAST, _TERMINATOR, _NO_DATA = "#e66100", "#ffd92f", "#ffffff", "#808080"
_TINT = 0.55  # share of the colour where the mask is cloud
_LIT_DEGREES = 85.0  # zenith angle of the sun beyond which noise is divided by almost no sunlight
_EVERY = 8  # pixels between two that the line of sunrise or sunset is drawn through
_HALO = [Stroke(linewidth=2.0, foreground="black", alpha=0.6), Normal()]


def name_of(path: str) -> str:
    """Name of the file that holds a scene's picture."""
    return f"{names.stem(path)}.png"


def write(
    path: Path, scene: str, image: np.ndarray, measured: np.ndarray, cloud: np.ndarray, ancillary: Ancillary
) -> None:
    """Draw a scene alone and with its mask over it, side by side.

    matplotlib.pyplot is left alone, as this runs beside the main thread.

    Args:
        path: the PNG to write.
        scene: name of the scene's file or product.
        image: [H, W, 9], normalised.
        measured: [H, W] uint8, 0 where nothing was measured.
        cloud: [H, W] bool, the mask.
        ancillary: what the scene has of coordinates, the sun's zenith angle and flags.

    Raises:
        UserError: if the file exists already or cannot be written.
    """
    height, width = measured.shape
    step = -(-max(height, width) // _WIDEST)
    part = np.s_[::step, ::step]
    seen = measured[part] > 0
    lit = _lit(image[part], None if ancillary.solar_zenith is None else ancillary.solar_zenith[part])
    rgb = np.where(lit[..., np.newaxis], false_colours(image[part]), thermal(image[part]))
    rgb[~seen] = np.array([0x80] * 3) / 255
    masked = np.where((cloud[part] & seen)[..., np.newaxis], (1 - _TINT) * rgb + _TINT * _rgb(_CLOUD), rgb)
    panel = width / step / _DPI, height / step / _DPI
    figure = Figure(figsize=(2 * panel[0] + 0.2, panel[1] + 0.75), dpi=_DPI)
    share = cloud[measured > 0].mean() if measured.any() else float("nan")
    titles = _title_of_scene(lit[seen]), f"mask: {share:.0%} cloud"
    for number, (picture, title) in enumerate(zip((rgb, masked), titles)):
        left = number * (panel[0] + 0.2) / figure.get_figwidth()
        size = panel[0] / figure.get_figwidth(), panel[1] / figure.get_figheight()
        axis = figure.add_axes((left, 0.35 / figure.get_figheight(), *size))
        axis.imshow(picture, interpolation="nearest", extent=(-0.5, width - 0.5, height - 0.5, -0.5), aspect="auto")
        _draw_lines(axis, ancillary, (height, width))
        axis.set_title(title, fontsize=10, pad=4)
        axis.set_axis_off()
    figure.text(0.003, 0.012, _caption(scene), fontsize=8, va="bottom")
    figure.legend(handles=_legend(ancillary), loc="lower right", ncols=5, fontsize=8, frameon=False, borderaxespad=0.1)
    target = io.BytesIO()
    FigureCanvasAgg(figure).print_png(target)
    new_file.write_bytes(path, target.getvalue())


def _lit(image: np.ndarray, zenith: Optional[np.ndarray]) -> np.ndarray:
    """Where the sun shows the scene: [H, W] bool. Where it has reflectances, if its height is not known."""
    reflecting = (image[..., :6] != 0).any(-1)
    return reflecting if zenith is None else reflecting & (zenith < _LIT_DEGREES)


def _title_of_scene(lit: np.ndarray) -> str:
    colours, grey = "S5, S3, S2 as red, green, blue", "S8, cold is bright"
    if lit.all():
        return colours
    return f"{colours}; by night {grey}" if lit.any() else f"{grey} (night)"


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def _caption(scene: str) -> str:
    acquired = names.acquired(scene)
    told = f"Sentinel-3{acquired.platform} SLSTR, {acquired.start:%d %B %Y, %H:%M} UTC\n" if acquired else ""
    return told + names.stem(scene)


def _legend(ancillary: Ancillary) -> list:
    handles: list = [Patch(facecolor=_CLOUD, alpha=0.8, label="cloud"), Patch(facecolor=_NO_DATA, label="no data")]
    lines = [(_COAST, "coast", "-")] if _land(ancillary) is not None else []
    if ancillary.solar_zenith is not None and _crosses(ancillary.solar_zenith, 90.0):
        lines.append(("#000000", "sunrise or sunset", "--"))
    handles += [Line2D([], [], color=colour, label=label, linestyle=style) for colour, label, style in lines]
    return handles


def _land(ancillary: Ancillary) -> Optional[np.ndarray]:
    flags = ancillary.confidence
    return flags.any_of("land") if flags is not None and "land" in flags.meanings else None


def _crosses(values: np.ndarray, level: float) -> bool:
    return bool(np.nanmin(values) < level < np.nanmax(values)) if np.isfinite(values).any() else False


def _draw_lines(axis: Any, ancillary: Ancillary, shape: tuple[int, int]) -> None:
    land = _land(ancillary)
    step = -(-max(shape) // _WIDEST)
    if land is not None and land.any() and not land.all():
        place = np.arange(0, shape[1], step), np.arange(0, shape[0], step)
        coast = axis.contour(*place, land[::step, ::step].astype(np.uint8), [0.5], colors=_COAST, linewidths=0.8)
        coast.set(path_effects=_HALO)
    rows, columns = (np.unique(np.append(np.arange(0, length, _EVERY), length - 1)) for length in shape)
    some = np.ix_(rows, columns)
    if min(len(rows), len(columns)) < 2:
        return
    if ancillary.latitude is not None and ancillary.longitude is not None:
        graticule.draw(axis, ancillary.latitude, ancillary.longitude)
    if ancillary.solar_zenith is not None and _crosses(ancillary.solar_zenith[some], 90.0):
        night = np.ma.masked_invalid(ancillary.solar_zenith[some])
        line = axis.contour(columns, rows, night, [90.0], colors=_TERMINATOR, linewidths=1.2, linestyles="--")
        line.set(path_effects=_HALO)

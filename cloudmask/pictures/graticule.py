"""Lines of latitude and longitude over a scene, seen on sea and on cloud, with their degrees."""

from typing import Optional

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

from cloudmask.sen3 import coordinates

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 45, 90)  # degrees between lines
_LINES = 4  # of a kind at most
_SAMPLES = 150  # of a side: the lines are smooth
_POLE = 87.0  # degrees beyond which meridians only crowd


def draw(axis: Axes, latitude: np.ndarray, longitude: np.ndarray) -> None:
    """Draw the graticule.

    Args:
        axis: shows the scene by pixels.
        latitude: [H, W] int32, microdegrees.
        longitude: likewise.
    """
    step = max(1, max(latitude.shape) // _SAMPLES)
    north, east = (coordinates.degrees(values[::step, ::step]) for values in (latitude, longitude))
    if min(north.shape) < 2 or not np.isfinite(north).any() or not np.isfinite(east).any():
        return
    columns, rows = (np.arange(length) * step for length in north.shape[::-1])
    _lines(axis, columns, rows, north, "NS")
    _lines(axis, columns, rows, np.where(np.abs(north) < _POLE, unwrapped(east), np.nan), "EW")


def unwrapped(east: np.ndarray) -> np.ndarray:
    """Longitudes in degrees, [H, W], without the jump at the date line.

    They are counted from the middle one, so that they may go beyond 180; at the jump opposite to it, which a scene at a
    pole has, they are NaN.
    """
    known = east[np.isfinite(east)]
    middle = np.angle(np.exp(1j * np.radians(known)).mean(), deg=True)
    counted = (east - middle + 180.0) % 360.0 - 180.0
    jump = np.zeros(east.shape, bool)
    for over in (0, 1):
        far = np.abs(np.diff(counted, axis=over)) > 90.0
        jump |= np.pad(far, [(0, 1) if side == over else (0, 0) for side in (0, 1)])
    unjumped: np.ndarray = np.where(jump, np.nan, counted + middle)
    return unjumped


def levels(degrees: np.ndarray) -> np.ndarray:
    """Round degrees between the least and the greatest, at most _LINES."""
    low, high = float(np.nanmin(degrees)), float(np.nanmax(degrees))
    for step in _STEPS:
        chosen = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        if len(chosen) <= _LINES:
            break
    return chosen


def _lines(axis: Axes, columns: np.ndarray, rows: np.ndarray, degrees: np.ndarray, signs: str) -> None:
    if not np.isfinite(degrees).any():
        return
    chosen = levels(degrees)
    if not len(chosen):
        return
    lines = axis.contour(columns, rows, degrees, chosen, colors="white", linewidths=0.8, linestyles="solid")
    lines.set_path_effects([patheffects.withStroke(linewidth=2.2, foreground="#00000090")])
    for degree in chosen:
        _label(axis, columns, rows, degrees, degree, signs)


def _label(axis: Axes, columns: np.ndarray, rows: np.ndarray, degrees: np.ndarray, degree: float, signs: str) -> None:
    """Write a parallel's degrees at the left edge and a meridian's at the lower one, if it comes to that edge."""
    left = signs == "NS"
    edge, along = (degrees[:, 0], rows) if left else (degrees[-1], columns)
    place = crossing(along, edge, degree)
    if place is None or not 0.05 < place / along[-1] < (0.88 if left else 0.95):  # the corner is left to the others
        return
    x, y = (0.01 * columns[-1], place) if left else (place, 0.99 * rows[-1])
    text = axis.text(x, y, words(degree, signs), fontsize=8, color="white", ha="left", va="bottom")
    text.set_path_effects([patheffects.withStroke(linewidth=2.0, foreground="black")])


def crossing(along: np.ndarray, degrees: np.ndarray, degree: float) -> Optional[float]:
    """Where `degrees` along an edge, [N], first pass `degree`, between the places `along` [N]; None if they do not."""
    above = degrees - degree
    with np.errstate(invalid="ignore"):
        passes = np.flatnonzero(above[:-1] * above[1:] <= 0)
    if not len(passes):
        return None
    first = passes[0]
    before, after = abs(above[first]), abs(above[first + 1])
    return float(along[first] + (along[first + 1] - along[first]) * before / (before + after or 1.0))


def words(degrees: float, signs: str) -> str:
    """Degrees as an atlas has them. signs: of positive and negative ones, NS or EW."""
    degrees = (degrees + 180.0) % 360.0 - 180.0 if signs == "EW" else degrees
    size = round(abs(degrees), 6)
    return f"{size:g}°" if size in (0, 180) else f"{size:g}° {signs[degrees < 0]}"

"""Where images and tie points lie to each other, and the sun's angle at an image's pixels."""

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from scipy.interpolate import BSpline, RectBivariateSpline

from cloudmask.sen3 import NIGHT_DEGREES
from cloudmask.sen3.kernels import evaluate, invert_cosine
from common.errors import UserError

# Tie points by which an image may reach over their edge. Granules differ by a row or two from their tie points.
_OUTSIDE = 4
# What a grid may say of itself: real ones have 500, 1000 and 16000 metres, and rows numbered up to 153000.
_METRES, _MOST_OFFSET = (100.0, 100_000.0), 1e7
_BLOCK = 64  # rows whose angles stay in a processor's cache


class Grid(NamedTuple):
    """Where a file's pixels lie: metres between them across and along the track, the column of the track, and the row
    number of the first row. Rows are counted along the orbit, so that only differences between grids mean something."""

    across: float
    along: float
    track_offset: float
    start_offset: float

    def rows_on(self, other: "Grid", count: int) -> np.ndarray:
        """Row numbers, [count] with fractions, that this grid's rows 0, 1, 2, ... have on `other`."""
        return (np.arange(count) + self.start_offset) * self.along / other.along - other.start_offset

    def columns_on(self, other: "Grid", count: int) -> np.ndarray:
        """The same for columns."""
        return (np.arange(count) - self.track_offset) * self.across / other.across + other.track_offset


def grid_of(attributes: dict, where: str) -> Grid:
    """From resolution, track_offset and start_offset. Raises UserError, naming `where`, if they are no grid's."""
    try:
        across, along = (float(word) for word in str(attributes["resolution"]).strip("[] ").split())
        grid = Grid(across, along, float(attributes["track_offset"]), float(attributes["start_offset"]))
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{where}: has no usable resolution, track_offset and start_offset ({error})") from None
    low, high = _METRES
    if not (low <= across <= high and low <= along <= high):
        raise UserError(
            f"{where}: resolution {attributes['resolution']} cannot be: {low:g} to {high:g} metres expected"
        )
    for name, number in (("track_offset", grid.track_offset), ("start_offset", grid.start_offset)):
        if not (abs(number) <= _MOST_OFFSET and number.is_integer()):
            raise UserError(f"{where}: {name} {number:g} cannot be: a whole number up to {_MOST_OFFSET:g} expected")
    return grid


def check_inside(shape: tuple[int, ...], rows: np.ndarray, columns: np.ndarray, where: str) -> None:
    """Raises UserError where row and column numbers of tie points lie so far outside of them, [H, W] = `shape`, that
    the files' offsets cannot be right."""
    for name, numbers, count in zip(("rows", "columns"), (rows, columns), shape):
        if numbers[0] < -_OUTSIDE or numbers[-1] > count - 1 + _OUTSIDE:
            raise UserError(
                f"{where}: the image lies at {name} {numbers[0]:.1f} to {numbers[-1]:.1f} of {count} {name} of tie "
                "points: start_offset, track_offset or resolution of one of the files cannot be right"
            )


class Spline:
    """A bicubic spline through tie points [H, W], over their row and column numbers, with missing ones as 0, which is
    what the benchmark's converter lays. Outside the tie points the nearest one's value holds."""

    def __init__(self, tie: np.ndarray):
        values = np.nan_to_num(tie, nan=0.0)
        fitted = RectBivariateSpline(*map(np.arange, values.shape), values)
        self._knots = fitted.get_knots()
        self.coefficients = fitted.get_coeffs().reshape(values.shape)

    def __call__(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Values, [H, W] float64, at each of these rows and columns."""
        values = np.empty((len(rows), len(columns)))
        evaluate(self.coefficients, *self.basis(0, rows), *self.basis(1, columns), values)
        return values

    def basis(self, axis: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first of the four coefficients along an axis that have a say at each number, [n], and their weights,
        [n, 4]."""
        knots = self._knots[axis]
        inside = np.clip(numbers, knots[0], knots[-1])
        matrix = BSpline.design_matrix(inside, knots, 3)
        return matrix.indices.reshape(-1, 4)[:, 0].astype(np.int64), matrix.data.reshape(-1, 4)


class Convention(NamedTuple):
    """radians: a degree in them. by_night: what 1 / cos(zenith) is where there is no sun."""

    radians: float
    by_night: float


def inverse_cosine(
    spline: Spline, rows: np.ndarray, columns: np.ndarray, convention: Convention, dtype, pool: Executor
) -> np.ndarray:
    """1 / cos(zenith) at each of these rows and columns of tie points, [H, W], computed by the pool's threads."""
    inverse = np.empty((len(rows), len(columns)), dtype)
    first_columns, column_weights = spline.basis(1, columns)
    first_rows, row_weights = spline.basis(0, rows)

    def block(first: int) -> None:
        part = slice(first, first + _BLOCK)
        zenith = np.empty(inverse[part].shape)
        down = first_rows[part], row_weights[part]
        evaluate(spline.coefficients, *down, first_columns, column_weights, zenith)
        invert_cosine(zenith, convention.radians, NIGHT_DEGREES, convention.by_night, inverse[part])

    list(pool.map(block, range(0, len(rows), _BLOCK)))
    return inverse

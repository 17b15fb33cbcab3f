"""Where images and tie points lie to each other, and the sun's angle at an image's pixels."""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import RectBivariateSpline

from common.errors import UserError

# Tie points by which an image may reach over their edge. Granules differ by a row or two from their tie points.
_OUTSIDE = 4


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
    if not (across > 0 and along > 0 and np.isfinite(grid).all()):
        raise UserError(f"{where}: resolution {attributes['resolution']} or its offsets cannot be")
    return grid


def interpolate(tie: np.ndarray, rows: np.ndarray, columns: np.ndarray, where: str) -> np.ndarray:
    """Tie points [H, W] at these row and column numbers of theirs: a bicubic spline over the numbers, with missing tie
    points as 0, which is what the benchmark's converter does. Outside the tie points the nearest one's value holds.

    Raises UserError where the numbers lie so far outside that the files' offsets cannot be right.
    """
    for name, numbers, count in zip(("rows", "columns"), (rows, columns), tie.shape):
        if numbers[0] < -_OUTSIDE or numbers[-1] > count - 1 + _OUTSIDE:
            raise UserError(
                f"{where}: the image lies at {name} {numbers[0]:.1f} to {numbers[-1]:.1f} of {count} {name} of tie "
                "points: start_offset, track_offset or resolution of one of the files cannot be right"
            )
    return spline(tie, rows, columns)


def spline(tie: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What `interpolate` gives, wherever the rows and columns lie."""
    values = np.nan_to_num(tie, nan=0.0)
    return RectBivariateSpline(*map(np.arange, values.shape), values)(rows, columns)

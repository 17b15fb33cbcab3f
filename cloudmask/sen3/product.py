"""The files of a Sentinel-3 SLSTR level 1 product: variables unpacked, flags as they are, errors that name the file."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from scipy.interpolate import RectBivariateSpline

from common.data import hdf5
from common.errors import UserError

PRODUCTS = "S3[AB]_SL_1_*.SEN3"
# Tie points by which an image may reach over their edge. Granules differ by a row or two from their tie points.
_OUTSIDE = 4


class Variable(NamedTuple):
    """A variable of a product's file, unpacked: NaN where nothing was measured. grid: the file's."""

    where: str
    values: np.ndarray
    attributes: dict
    grid: "Grid"


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


class Flags(NamedTuple):
    """Bits by pixel, [H, W] unsigned, and the bit of each meaning."""

    values: np.ndarray
    meanings: dict[str, int]

    def any_of(self, *meanings: str) -> np.ndarray:
        """Where one of these is set; nowhere for those that the product does not know."""
        return (self.values & np.array(sum(self.meanings.get(name, 0) for name in meanings), self.values.dtype)) != 0


class Product:
    """One *.SEN3 folder. Everything is read when it is asked for; every error names the file."""

    def __init__(self, folder: str):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise UserError(f"{folder}: is not a product's folder; unpack it first")

    def has(self, file: str) -> bool:
        return (self.folder / file).is_file()

    def variable(self, file: str, name: str, dtype=np.float64) -> Variable:
        """`name` of `file`, packed integers or floats. Raises UserError."""
        with ExitStack() as stack:
            opened, dataset = self._open(stack, file, name)
            attributes, raw = dataset.attributes(), dataset.read()
            grid = _grid(opened.attributes(), f"{self.folder / file}")
        return Variable(dataset.where, _unpack(raw, attributes, dtype, dataset.where), attributes, grid)

    def numbers(self, file: str, name: str) -> tuple[np.ndarray, dict]:
        """Integers as they are in the file, its _FillValue with them, and the attributes."""
        with ExitStack() as stack:
            _, dataset = self._open(stack, file, name, "iu")
            return dataset.read(), dataset.attributes()

    def _open(self, stack: ExitStack, file: str, name: str, kind: str = "fiu") -> tuple[hdf5.Reader, hdf5.Dataset]:
        if not self.has(file):
            raise UserError(f"{self.folder}: {file} is missing: the product is not whole; download it again")
        opened = stack.enter_context(hdf5.open_file(self.folder / file))
        return opened, opened.dataset(name, kind)

    def flags(self, name: str) -> Optional[Flags]:
        """A variable of flags_in.nc, raw: bayes_in's _FillValue is 0 from baseline 005 on, which would turn clear sky
        into missing values. None if the product has no such file."""
        if not self.has("flags_in.nc"):
            return None
        values, attributes = self.numbers("flags_in.nc", name)
        return flags_of(values, attributes, f"{self.folder / 'flags_in.nc'}: '{name}'")

    def tie_points(self) -> Variable:
        """Zenith angle of the sun in degrees, every 16 km across the track and every kilometre along it. Raises
        UserError for too few to lay a bicubic spline through."""
        tie = self.variable("geometry_tn.nc", "solar_zenith_tn")
        if tie.values.ndim != 2 or min(tie.values.shape) < 4:
            raise UserError(f"{tie.where} has shape {tie.values.shape}: a grid of at least 4 x 4 tie points expected")
        return tie

    def solar_zenith(self, file: str, name: str) -> np.ndarray:
        """The same at each pixel of the image `name` of `file`."""
        with ExitStack() as stack:
            opened, dataset = self._open(stack, file, name)
            grid = _grid(opened.attributes(), f"{self.folder / file}")
        if len(dataset.shape) != 2:
            raise UserError(f"{dataset.where} has shape {dataset.shape}: two axes expected")
        tie, (height, width) = self.tie_points(), dataset.shape
        return interpolate(tie, grid.rows_on(tie.grid, height), grid.columns_on(tie.grid, width))

    def baseline(self) -> int:
        """The processing baseline, by the product's name. Raises UserError if the name does not say."""
        found = re.search(r"_(\d{3})\.SEN3/?$", self.folder.name)
        if not found:
            raise UserError(
                f"{self.folder}: the name does not end in a processing baseline such as _004.SEN3, on which "
                "the calibration depends: give the folder its own name again"
            )
        return int(found.group(1))


def _grid(attributes: dict, where: str) -> Grid:
    try:
        across, along = (float(word) for word in str(attributes["resolution"]).strip("[] ").split())
        grid = Grid(across, along, float(attributes["track_offset"]), float(attributes["start_offset"]))
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{where}: has no usable resolution, track_offset and start_offset ({error})") from None
    if not (across > 0 and along > 0 and np.isfinite(grid).all()):
        raise UserError(f"{where}: resolution {attributes['resolution']} or its offsets cannot be")
    return grid


def _unpack(raw: np.ndarray, attributes: dict, dtype, where: str) -> np.ndarray:
    try:
        scale, offset = float(attributes.get("scale_factor", 1.0)), float(attributes.get("add_offset", 0.0))
        fill = attributes.get("_FillValue")
        values: np.ndarray = raw.astype(dtype)
        if scale != 1.0:
            values *= dtype(scale)
        if offset:
            values += dtype(offset)
        if fill is not None:
            np.putmask(values, raw == raw.dtype.type(fill), np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: cannot be unpacked ({error})") from None
    return values


def flags_of(values: np.ndarray, attributes: dict, where: str) -> Flags:
    """Integers [H, W] with their CF attributes flag_masks and flag_meanings. Raises UserError."""
    masks = np.atleast_1d(attributes.get("flag_masks", []))
    meanings = str(attributes.get("flag_meanings", "")).split()
    if values.ndim != 2 or len(masks) != len(meanings) or (masks.dtype.kind not in "iu" and len(masks)):
        raise UserError(
            f"{where} has shape {values.shape}, {len(masks)} flag_masks, {len(meanings)} flag_meanings: no flags of "
            "an image"
        )
    return Flags(values.view(f"u{values.itemsize}"), dict(zip(meanings, map(int, masks))))


def interpolate(tie: Variable, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Tie points at these row and column numbers of theirs: a bicubic spline over the numbers, with missing tie points
    as 0, which is what the benchmark's converter does. Outside the tie points the nearest one's value holds.

    Raises UserError where the numbers lie so far outside that the files' offsets cannot be right.
    """
    for name, numbers, count in zip(("rows", "columns"), (rows, columns), tie.values.shape):
        if numbers[0] < -_OUTSIDE or numbers[-1] > count - 1 + _OUTSIDE:
            raise UserError(
                f"{tie.where}: the image lies at {name} {numbers[0]:.1f} to {numbers[-1]:.1f} of {count} {name} of tie "
                "points: start_offset, track_offset or resolution of one of the files cannot be right"
            )
    return spline(tie, rows, columns)


def spline(tie: Variable, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What `interpolate` gives, wherever the rows and columns lie."""
    values = np.nan_to_num(tie.values, nan=0.0)
    return RectBivariateSpline(*map(np.arange, values.shape), values)(rows, columns)

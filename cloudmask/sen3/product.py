"""A Sentinel-3 SLSTR level 1 product, in whichever of its forms it comes: variables unpacked, flags as they are."""

from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from cloudmask.sen3 import Stripe, coordinates, names
from cloudmask.sen3.eopf import Eopf
from cloudmask.sen3.files import Archive, Array, Container, Folder, Reader
from cloudmask.sen3.netcdf import Sen3
from cloudmask.sen3.sun import Grid, Spline, check_inside, grid_of
from cloudmask.sen3.table import STRIPED, TABLE, TABLE_B, Entry
from common.errors import UserError

_NOWHERE = Grid(1.0, 1.0, 0.0, 0.0)  # of what is not placed by its file
_DETECTORS = 4  # of a stripe
_LARGEST_ANGLE = 180.0
NO_LABEL = 255  # in every pixel of bayes_in where the Bayesian module did not run; real bits end at 8


class Variable(NamedTuple):
    """A variable of a product, unpacked: NaN where nothing was measured. grid: its file's."""

    where: str
    values: np.ndarray
    grid: Grid


class Packed(NamedTuple):
    """A variable [H, W] as it is packed. packing: scale, offset, and the number that stands for no data, NaN if none
    does."""

    where: str
    values: np.ndarray
    packing: tuple[float, float, float]
    grid: Grid


class Layout(NamedTuple):
    """What is known of a variable before it is read. grid: its file's."""

    where: str
    shape: tuple[int, ...]
    grid: Grid


class Flags(NamedTuple):
    """Bits by pixel, [H, W] unsigned, and the bit of each meaning."""

    values: np.ndarray
    meanings: dict[str, int]

    def any_of(self, *meanings: str) -> np.ndarray:
        """Where one of these is set; nowhere for those that the product does not know."""
        return (self.values & np.array(sum(self.meanings.get(name, 0) for name in meanings), self.values.dtype)) != 0


class Product:
    """One product. Everything is read when it is asked for, by the names of cloudmask.sen3.table; every error is a
    UserError that names file and variable."""

    def __init__(self, path: str, stripe: Stripe = "a"):
        """path: a folder X.SEN3 or X.zarr, or a zip archive of one. stripe: of S4 to S6."""
        place = Path(path)
        container: Container
        if names.form(path) is names.ARCHIVE and place.is_file():
            container = Archive(place)
        elif place.is_dir():
            container = Folder(place)
        else:
            raise UserError(f"{path}: is not a product's folder; unpack it first")
        self.where = container.where
        self._reader: Reader = Eopf(container) if names.form(self.where) is names.ZARR else Sen3(container)
        self._stripe = stripe

    def entry(self, name: str) -> Entry:
        """Where a variable lies."""
        return (TABLE if self._stripe == "a" else TABLE_B)[name]

    def has(self, name: str) -> bool:
        return self._reader.has(self.entry(name))

    def variable(self, name: str, dtype=np.float64) -> Variable:
        """Packed integers or floats as numbers of their unit."""
        packed = self.packed(name)
        return Variable(packed.where, unpack(packed, dtype), packed.grid)

    def packed(self, name: str) -> Packed:
        """The same as it is packed."""
        array = self._reader.read(self.entry(name), "fiu")
        return Packed(array.where, array.values, _packing(array), grid_of(array.grid, _file_of(array.where)))

    def layout(self, name: str) -> Layout:
        """What is known of it before it is read."""
        layout = self._reader.layout(self.entry(name))
        return Layout(layout.where, layout.shape, grid_of(layout.grid, _file_of(layout.where)))

    def numbers(self, name: str) -> Array:
        """Integers as they are stored, those that stand for no data with them."""
        return self._reader.read(self.entry(name), "iu")

    def coordinate(self, name: str) -> np.ndarray:
        """latitude or longitude, [H, W] int32 in microdegrees."""
        array = self._reader.read(self.entry(name), "fiu")
        scale, offset = (array.attributes.get(each) for each in ("scale_factor", "add_offset"))
        packed = array.values.dtype == np.int32 and scale == coordinates.SCALE and not offset
        if packed and array.fill in (None, coordinates.UNKNOWN):
            return array.values
        return coordinates.microdegrees(
            unpack(Packed(array.where, array.values, _packing(array), _NOWHERE), np.float64)
        )

    def flags(self, name: str) -> Optional[Flags]:
        """Flags, raw: bayes_in's _FillValue is 0 from baseline 005 on, which would turn clear sky into missing values.
        None if the product does not have them."""
        if not self.has(name):
            return None
        array = self.numbers(name)
        return flags_of(array.values, array.attributes, array.where)

    def labels(self) -> Optional[Flags]:
        """The Bayesian mask's flags; None where it was not made: the module can be switched off, and in products of
        2017 all of its bits are set in every pixel."""
        bayes = self.flags("bayes")
        return None if bayes is None or (bayes.values == NO_LABEL).all() else bayes

    def irradiances(self, band: str) -> np.ndarray:
        """The sun's by detector, in the radiance's unit times steradian: from the band's own file, else viscal.nc."""
        name = (
            f"{band}_irradiance"
            if self.has(f"{band}_irradiance") or not self.has(f"{band}_viscal")
            else f"{band}_viscal"
        )
        array = self._reader.read(self.entry(name), "fiu")
        values = unpack(Packed(array.where, array.values, _packing(array), _NOWHERE), np.float64)
        if name.endswith("viscal"):
            values = self._of_nadir(values, band, array.where)
        values = values.reshape(-1)
        if not (np.isfinite(values).all() and (values > 0).all() and 0 < len(values) < 256):
            raise UserError(f"{array.where} holds {values[:8]}: positive numbers expected")
        return values

    def _of_nadir(self, values: np.ndarray, band: str, where: str) -> np.ndarray:
        """Those of viscal.nc, [detector, view], that belong to the nadir view and the stripe."""
        both = 2 * _DETECTORS if band in STRIPED else _DETECTORS
        if values.ndim != 2 or len(values) != both:
            raise UserError(f"{where} has shape {values.shape}: irradiances of {both} detectors by view expected")
        return values[-_DETECTORS:, 0] if self._stripe == "b" else values[:_DETECTORS, 0]

    def tie_points(self) -> Variable:
        """Zenith angle of the sun in degrees, every 16 km across the track and every kilometre along it. Raises
        UserError for too few to lay a bicubic spline through, none that is known, or one that cannot be."""
        tie = self.variable("solar_zenith")
        if tie.values.ndim != 2 or min(tie.values.shape) < 4:
            raise UserError(f"{tie.where} has shape {tie.values.shape}: a grid of at least 4 x 4 tie points expected")
        known = tie.values[~np.isnan(tie.values)]
        if not known.size:  # missing ones are 0, as in the data set: the sun would be overhead everywhere
            raise UserError(f"{tie.where} holds no angle, NaN alone: copy the product again")
        if not 0 <= known.min() <= known.max() <= _LARGEST_ANGLE:
            wrong = known.min() if known.min() < 0 else known.max()
            raise UserError(f"{tie.where} holds {wrong:g}: zenith angles are from 0 to {_LARGEST_ANGLE:g} degrees")
        return tie

    def solar_zenith(self, name: str) -> np.ndarray:
        """The same at each pixel of an image."""
        layout = self.layout(name)
        if len(layout.shape) != 2:
            raise UserError(f"{layout.where} has shape {layout.shape}: two axes expected")
        grid, tie, (height, width) = layout.grid, self.tie_points(), layout.shape
        rows, columns = grid.rows_on(tie.grid, height), grid.columns_on(tie.grid, width)
        check_inside(tie.values.shape, rows, columns, tie.where)
        return Spline(tie.values)(rows, columns)

    def known_baseline(self) -> Optional[int]:
        """The processing baseline, None if the product does not say."""
        return self._reader.baseline()

    def baseline(self) -> int:
        """The processing baseline. Raises UserError if the product does not say."""
        number = self.known_baseline()
        if number is None:
            raise UserError(
                f"{self.where}: the name does not end in a processing baseline such as _004.SEN3, on which "
                "the calibration depends: give the folder its own name again"
            )
        return number


def _file_of(where: str) -> str:
    return where.split(": dataset")[0]


def _packing(array: Array) -> tuple[float, float, float]:
    try:
        scale, offset = (float(array.attributes.get(*each)) for each in (("scale_factor", 1.0), ("add_offset", 0.0)))
        fill = np.nan if array.fill is None else float(array.fill)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{array.where}: cannot be unpacked ({error})") from None
    if not (0 < scale < np.inf and np.isfinite(offset)):
        raise UserError(
            f"{array.where}: scale_factor {scale:g} or add_offset {offset:g} cannot be: copy the file again"
        )
    return scale, offset, fill


def unpack(packed: Packed, dtype) -> np.ndarray:
    """Numbers of the variable's unit, NaN where there is no data."""
    scale, offset, fill = packed.packing
    values: np.ndarray = packed.values.astype(dtype)
    if scale != 1.0:
        values *= dtype(scale)
    if offset:
        values += dtype(offset)
    if fill == fill:
        np.putmask(values, packed.values == fill, np.nan)
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
    bits = 256**values.itemsize - 1  # SNAP writes the highest bit of unsigned flags as a negative number
    return Flags(values.view(f"u{values.itemsize}"), {name: int(mask) & bits for name, mask in zip(meanings, masks)})

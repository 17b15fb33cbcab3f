"""The conversion for work with the measurements themselves."""

from threading import Lock

import numpy as np

from cloudmask.sen3 import Calibration
from cloudmask.sen3.kernels import average
from cloudmask.sen3.product import Flags, Packed, Product, Variable
from cloudmask.sen3.sun import Convention, Grid, check_inside
from cloudmask.sen3.table import REFLECTIVE, Entry
from common.errors import UserError

# Factors on the nadir radiances S1 to S6 of processing baselines before 005 (product notices S3.PN-SLSTR-L1.08, .10),
# which tell views apart, not stripes.
NOTICE = (0.97, 0.98, 0.98, 1.0, 1.11, 1.13)
_CALIBRATED_BASELINE = 5
# Exceptions by which a pixel's number is no measurement of it. The others say that it was not sent down: there stands
# no data, or a neighbour's measurement (cosmetic filling), a fifth of the pixels in a product of 2017.
_EXCEPTIONS = ("no_signal", "saturation", "invalid_radiance", "no_parameters")
_NO_DETECTOR = 255
_ODD_PIXELS = 3  # by which the 0.5 km grid may be longer or shorter than twice the 1 km grid


class Physical:
    """The measurements as they are: no data is NaN."""

    missing = np.nan
    sun = Convention(np.pi / 180, np.nan)  # no reflectance by night

    def __init__(self, product: Product, shape: tuple[int, ...], grid: Grid, dtype, calibration: Calibration):
        """shape, grid: of the temperatures."""
        self.product, self.shape, self.grid, self.dtype = product, shape, grid, dtype
        self._lock = Lock()
        self._seen_by: dict[Entry, tuple[np.ndarray, int, str]] = {}
        self._factors = dict(zip(REFLECTIVE, _factors(product, calibration)))

    def rows(self, tie: Variable, shape: tuple[int, ...], grid: Grid) -> np.ndarray:
        """Row numbers on the tie points' grid. Raises UserError where the image lies outside of it, or over tie points
        without an angle."""
        rows, columns = grid.rows_on(tie.grid, shape[0]), grid.columns_on(tie.grid, shape[1])
        check_inside(tie.values.shape, rows, columns, tie.where)
        over = tie.values[_around(rows), _around(columns)]
        missing = int(np.isnan(over).sum())
        if missing:
            raise UserError(
                f"{tie.where} has no angle at {missing} of the {over.size} tie points over the image: copy the product "
                "again; --like dataset takes the sun for overhead there"
            )
        return rows

    def band(self, band: str, packed: Packed, inverse_sun: np.ndarray, refs: np.ndarray, rads: np.ndarray) -> None:
        """Fill refs [H, W], and rads unless it is empty: each pixel by the irradiance of the detector that has seen it,
        then the mean of those of the 2 x 2 pixels over each 1 km pixel that were measured."""
        corner = self._corner(packed)
        by_detector = self.product.irradiances(band)
        gains = np.full(256, np.nan)  # what is no detector is a pixel that was not measured
        gains[: len(by_detector)] = np.pi / by_detector
        detectors, highest, where = self._detectors(band, packed.values.shape)
        if highest >= len(by_detector):
            raise UserError(
                f"{where} holds detector {highest}, but {band} has irradiances of {len(by_detector)} detectors"
            )
        exceptions, refused = self._exceptions(band, packed.values.shape)
        packing = (*packed.packing, self._factors[band])
        average(packed.values, packing, gains, detectors, exceptions, refused, inverse_sun, corner, refs, rads)

    def temperature(self, band: str, values: np.ndarray) -> np.ndarray:
        """Kelvin, NaN where it is no measurement."""
        exceptions, refused = self._exceptions(band, values.shape)
        if exceptions.size:
            values[(exceptions & refused) != 0] = np.nan
        return values

    def bayes(self, flags: Flags) -> np.ndarray:
        """All bits, as they are."""
        return flags.values

    def mask(self, where: np.ndarray) -> np.ndarray:
        return np.where(where, np.uint8(255), np.uint8(0))

    def _exceptions(self, band: str, shape: tuple) -> tuple[np.ndarray, int]:
        """The flags, empty where the product has none, and the bits of those that are no measurements."""
        flags = self.product.flags(f"{band}_exception")
        if flags is None:
            return np.empty((0, 0), np.uint8), 0
        if flags.values.shape != shape:
            variable = self.product.entry(f"{band}_exception").variable
            raise UserError(f"{self.product.where}: '{variable}' has shape {flags.values.shape}, {shape} expected")
        return flags.values, sum(flags.meanings.get(name, 0) for name in _EXCEPTIONS)

    def _detectors(self, band: str, shape: tuple) -> tuple[np.ndarray, int, str]:
        """Of the band's stripe: [h, w] uint8, 255 where none has seen a pixel; the highest number of one that has, -1
        without any; and the variable, for messages."""
        name = f"{band}_detector"
        entry = self.product.entry(name)
        with self._lock:
            if entry not in self._seen_by:
                array = self.product.numbers(name)
                if array.values.shape != shape:
                    raise UserError(f"{array.where} has shape {array.values.shape}, {shape} expected")
                if array.values.itemsize > 1 and array.values.max() > _NO_DETECTOR:
                    raise UserError(f"{array.where} holds detector {array.values.max()}: numbers up to 254 expected")
                # -1 of signed types, as SNAP writes it, is 255 here. One more wraps that to 0.
                detectors: np.ndarray = array.values.astype(np.uint8)
                self._seen_by[entry] = detectors, int((detectors + np.uint8(1)).max()) - 1, array.where
            return self._seen_by[entry]

    def _corner(self, packed: Packed) -> tuple[int, int]:
        """Row and column of the 0.5 km pixel over the first 1 km pixel, -1, 0 or 1: its first row may lie one before or
        behind (2 start_offset of one grid less that of the other is -1, 0 or 1 by product). Raises UserError where the
        grids do not lie over each other."""
        values, grid = packed.values, packed.grid
        rows, columns = 2 * self.shape[0], 2 * self.shape[1]
        above, left = float(self.grid.rows_on(grid, 1)[0]), float(self.grid.columns_on(grid, 1)[0])
        fits = abs(values.shape[0] - rows) <= _ODD_PIXELS and abs(values.shape[1] - columns) <= _ODD_PIXELS
        halves = (2 * grid.along, 2 * grid.across) == (self.grid.along, self.grid.across)
        if not (fits and halves and {above, left} <= {-1.0, 0.0, 1.0}):
            raise UserError(
                f"{self.product.where}: reflectances of {values.shape} pixels, the first at row {above:g} and column "
                f"{left:g} of theirs, over temperatures of {self.shape}: twice as many each way expected, at most one "
                "off; --like dataset resizes"
            )
        return int(above), int(left)


def _around(numbers: np.ndarray) -> slice:
    """The tie points from below the first of these ascending numbers to above the last."""
    return slice(max(int(np.floor(numbers[0])), 0), int(np.ceil(numbers[-1])) + 1)


def _factors(product: Product, calibration: Calibration) -> tuple[float, ...]:
    if calibration == "notice":
        return NOTICE if product.baseline() < _CALIBRATED_BASELINE else (1.0,) * len(REFLECTIVE)
    return (1.0,) * len(REFLECTIVE) if calibration == "none" else tuple(calibration)

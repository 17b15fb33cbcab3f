"""The conversion for work with the measurements themselves."""

from typing import Optional

import numpy as np

from cloudmask.sen3 import NIGHT_DEGREES, Calibration
from cloudmask.sen3.product import Flags, Product, Variable
from cloudmask.sen3.sun import Grid, interpolate
from cloudmask.sen3.table import REFLECTIVE, TABLE
from common.errors import UserError

# Factors on the nadir radiances S1 to S6 of processing baselines before 005 (product notices S3.PN-SLSTR-L1.08, .10).
NOTICE = (0.97, 0.98, 0.98, 1.0, 1.11, 1.13)
_CALIBRATED_BASELINE = 5
# Exceptions by which a pixel's number is no measurement of it. The others say that it was not sent down: there stands
# no data, or a neighbour's measurement (cosmetic filling), a fifth of the pixels in a product of 2017.
_EXCEPTIONS = ("no_signal", "saturation", "invalid_radiance", "no_parameters")
_ODD_PIXELS = 3  # by which the 0.5 km grid may be longer or shorter than twice the 1 km grid


class Physical:
    """The measurements as they are: no data is NaN."""

    missing = np.nan

    def __init__(self, product: Product, shape: tuple[int, ...], grid: Grid, dtype, calibration: Calibration):
        """shape, grid: of the temperatures."""
        self.product, self.shape, self.grid, self.dtype = product, shape, grid, dtype
        self._factors = dict(zip(REFLECTIVE, _factors(product, calibration)))
        self._detectors: Optional[np.ndarray] = None

    def zenith(self, tie: Variable, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        """Zenith angle of the sun, degrees, [H, W] = `shape` pixels on `grid`."""
        return interpolate(tie.values, grid.rows_on(tie.grid, shape[0]), grid.columns_on(tie.grid, shape[1]), tie.where)

    def sun(self, zenith: np.ndarray) -> np.ndarray:
        """Cosine of the zenith angle; NaN in the night, which has no reflectance."""
        return np.where(zenith < NIGHT_DEGREES, np.cos(np.deg2rad(zenith)), np.nan).astype(self.dtype)

    def irradiance(self, band: str, shape: tuple) -> np.ndarray:
        """By pixel, of the detector that has seen it."""
        by_detector = self.product.irradiances(band)
        if self._detectors is None:
            self._detectors = self._of_shape("detector", shape)
        # What is no detector is a pixel that was not measured.
        table = np.full(256, np.nan, self.dtype)
        table[: len(by_detector)] = by_detector
        return table[self._detectors.astype(np.uint8)]

    def radiance(self, band: str, values: np.ndarray) -> np.ndarray:
        """Calibrated, NaN where it is no measurement."""
        if self._factors[band] != 1.0:
            values *= self.dtype(self._factors[band])
        return self._without_exceptions(band, values)

    def temperature(self, band: str, values: np.ndarray) -> np.ndarray:
        """Kelvin, NaN where it is no measurement."""
        return self._without_exceptions(band, values)

    def onto_1_km(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        """The mean of those of the 2 x 2 pixels over each 1 km pixel that were measured."""
        height, width = self.shape
        parts = self._over_1_km(values, grid).reshape(height, 2, width, 2)
        counts = np.isfinite(parts).sum((1, 3), dtype=self.dtype)
        with np.errstate(invalid="ignore"):
            return np.nansum(parts, (1, 3), dtype=self.dtype) / counts

    def bayes(self, flags: Flags) -> np.ndarray:
        """All bits, as they are."""
        return flags.values

    def mask(self, where: np.ndarray) -> np.ndarray:
        return np.where(where, np.uint8(255), np.uint8(0))

    def _without_exceptions(self, band: str, values: np.ndarray) -> np.ndarray:
        flags = self.product.flags(f"{band}_exception")
        if flags is not None:
            if flags.values.shape != values.shape:
                raise UserError(
                    f"{self.product.where}: '{TABLE[f'{band}_exception'].variable}' has shape {flags.values.shape}, "
                    f"{values.shape} expected"
                )
            values[flags.any_of(*_EXCEPTIONS)] = np.nan
        return values

    def _of_shape(self, name: str, shape: tuple) -> np.ndarray:
        array = self.product.numbers(name)
        if array.values.shape != shape:
            raise UserError(f"{array.where} has shape {array.values.shape}, {shape} expected")
        return array.values

    def _over_1_km(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        """[2 H, 2 W], the pixels of the 0.5 km grid that lie over the [H, W] of the 1 km grid, NaN where there are
        none: its first row may lie one before or behind (2 start_offset of one grid less that of the other is -1, 0 or
        1 by product), and a granule may end between two rows."""
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
        if values.shape == (rows, columns) and above == left == 0:
            return values
        result = np.full((rows, columns), np.nan, values.dtype)
        first, before = int(above), int(left)
        part = values[max(first, 0) : first + rows, max(before, 0) : before + columns]
        result[max(-first, 0) :, max(-before, 0) :][: part.shape[0], : part.shape[1]] = part
        return result


def _factors(product: Product, calibration: Calibration) -> tuple[float, ...]:
    if calibration == "notice":
        return NOTICE if product.baseline() < _CALIBRATED_BASELINE else (1.0,) * len(REFLECTIVE)
    return (1.0,) * len(REFLECTIVE) if calibration == "none" else tuple(calibration)

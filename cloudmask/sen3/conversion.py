"""Sentinel-3 SLSTR level 1 products, folders *.SEN3 of netCDF 4 files (which are HDF5), as scenes on the 1 km grid.

Three conversions:

dataset           what the later of the two public versions of the data set's converter makes of a product, within 1e-6
                  (tests/golden/sen3_seed2018.npz): radiance to reflectance with the first detector's irradiance, no
                  data as 0, an anti-aliased resize onto 1200 x 1500 pixels.
dataset_last_row  what the earlier version makes of it: the same, but for the sun, which it takes from the last row of
                  tie points for every row of a real product (it adds the tie points' start_offset, a row number of
                  tens of thousands, to rows that are counted from 0). `cloudmask inspect` tells which of the two made a
                  scene.
physical          for work with the measurements themselves: each detector's own irradiance, the mean of those of the
                  2 x 2 pixels over each 1 km pixel that were measured, no data as NaN, no reflectance without sun, and
                  the radiances of processing baselines before 005 corrected (EUMETSAT product notice
                  S3.PN-SLSTR-L1.08).

Reflectance is pi L / (E0 cos(zenith)): L radiance, E0 solar irradiance, zenith angle of the sun from a grid of tie
points (16 km across the track, 1 km along it), interpolated by a bicubic spline.
"""

from typing import NamedTuple, Optional, Union

import numpy as np
from scipy import ndimage

from cloudmask.sen3 import NIGHT_DEGREES, Conversion
from cloudmask.sen3.product import Flags, Grid, Product, Variable, interpolate, spline
from common.errors import UserError

REFLECTIVE = tuple(f"S{band}" for band in range(1, 7))
THERMAL = ("S7", "S8", "S9")
# Factors on the nadir radiances of processing baselines before 005, by the product notice.
CALIBRATION = {"S1": 0.97, "S2": 0.98, "S3": 0.98, "S5": 1.11, "S6": 1.13}
_CALIBRATED_BASELINE = 5
_ODD_PIXELS = 3  # by which the 0.5 km grid may be longer or shorter than twice the 1 km grid
# A degree in radians as the data set's converter has it: near the terminator its rounding is seen in the sixth digit.
_RADIANS = 0.017453292


class Converted(NamedTuple):
    """A product on the 1 km grid. refs [H, W, 6], bts [H, W, 3] kelvin; bayes [H, W, 1], cloud above 0, None where the
    product has no flags; rads [H, W, 6] where asked for; summary [H, W, 1], the operational mask, likewise."""

    refs: np.ndarray
    bts: np.ndarray
    bayes: Optional[np.ndarray]
    summary: Optional[np.ndarray]
    rads: Optional[np.ndarray] = None


def convert(
    folder: str, like: Conversion, shape: tuple[int, ...], dtype=np.float64, radiances: bool = False
) -> Converted:
    """Convert one product. Raises UserError naming the file.

    shape: of the 1 km grid that `dataset` resizes to; `physical` keeps the product's own. dtype: of the arithmetic.
    """
    product = Product(folder)
    variables = [product.variable(f"{band}_BT_in.nc", f"{band}_BT_in", dtype) for band in THERMAL]
    thermal = [variable.values for variable in variables]
    if thermal[0].ndim != 2 or any(each.shape != thermal[0].shape for each in thermal):
        raise UserError(
            f"{folder}: S7 to S9 have the shapes {[each.shape for each in thermal]}: one of two axes expected"
        )
    bayes, confidence = product.flags("bayes_in"), product.flags("confidence_in")
    for flags in (bayes, confidence):
        if flags is not None and flags.values.shape != thermal[0].shape:
            raise UserError(f"{folder}: flags_in.nc has shape {flags.values.shape}, S7 {thermal[0].shape}")
    make: Union[_Dataset, _Physical]
    if like == "physical":
        make = _Physical(product, thermal[0].shape, variables[0].grid, dtype)
    else:
        make = (_Dataset if like == "dataset" else _DatasetLastRow)(product, shape, dtype)
    refs, rads = _reflective(product, make, dtype, radiances)
    bts = np.stack([make.temperature(each) for each in thermal], axis=-1)
    labels = None if bayes is None else make.bayes(bayes)[..., np.newaxis]
    summary = None if confidence is None else make.summary(confidence)[..., np.newaxis]
    return Converted(refs, bts, labels, summary, rads)


class _Dataset:
    """As the benchmark's converter."""

    missing = 0.0

    def __init__(self, product: Product, shape: tuple[int, ...], dtype):
        self.product, self.shape, self.dtype = product, shape, dtype

    def zenith(self, tie: Variable, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        """Zenith angle of the sun, degrees, [H, W] = `shape` pixels on `grid`."""
        return _zenith(tie, shape, grid)

    def sun(self, zenith: np.ndarray) -> np.ndarray:
        """Cosine of the zenith angle; 1 in the night, where radiance is only scaled."""
        return np.where(zenith < NIGHT_DEGREES, np.cos(zenith * _RADIANS), 1.0).astype(self.dtype)

    def irradiance(self, band: str, shape: tuple) -> np.ndarray:
        return _irradiances(self.product, band)[:1].astype(self.dtype)

    def radiance(self, band: str, values: np.ndarray) -> np.ndarray:
        return values

    def onto_1_km(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        return self.temperature(values)

    def temperature(self, values: np.ndarray) -> np.ndarray:
        return _resize(np.nan_to_num(values, copy=False, nan=0.0), self.shape, anti_aliasing=True)

    def bayes(self, flags: Flags) -> np.ndarray:
        return self._mask(flags.values > 0)

    def summary(self, flags: Flags) -> np.ndarray:
        return self._mask(flags.any_of("summary_cloud"))

    def _mask(self, where: np.ndarray) -> np.ndarray:
        return _resize(np.where(where, 255.0, 0.0), self.shape, anti_aliasing=False)


class _DatasetLastRow(_Dataset):
    """As the converter's earlier version, whose slip is the data set's own where it made the data set."""

    def zenith(self, tie: Variable, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        rows = np.arange(shape[0]) * grid.along / tie.grid.along + tie.grid.start_offset
        return spline(tie, rows, grid.columns_on(tie.grid, shape[1]))


class _Physical:
    """The measurements as they are."""

    missing = np.nan

    def __init__(self, product: Product, shape: tuple[int, ...], grid: Grid, dtype):
        """shape, grid: of the temperatures."""
        self.product, self.shape, self.grid, self.dtype = product, shape, grid, dtype
        self._old = product.baseline() < _CALIBRATED_BASELINE
        self._detectors: Optional[np.ndarray] = None

    def zenith(self, tie: Variable, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        return _zenith(tie, shape, grid)

    def sun(self, zenith: np.ndarray) -> np.ndarray:
        return np.where(zenith < NIGHT_DEGREES, np.cos(np.deg2rad(zenith)), np.nan).astype(self.dtype)

    def irradiance(self, band: str, shape: tuple) -> np.ndarray:
        by_detector = _irradiances(self.product, band)
        if self._detectors is None:
            self._detectors, _ = self.product.numbers("indices_an.nc", "detector_an")
        if self._detectors.shape != shape:
            raise UserError(
                f"{self.product.folder / 'indices_an.nc'}: 'detector_an' has shape {self._detectors.shape}, "
                f"{shape} expected"
            )
        # What is no detector is a pixel that was not measured.
        table = np.full(256, np.nan, self.dtype)
        table[: len(by_detector)] = by_detector
        return table[self._detectors.astype(np.uint8)]

    def radiance(self, band: str, values: np.ndarray) -> np.ndarray:
        return values * self.dtype(CALIBRATION.get(band, 1.0)) if self._old else values

    def onto_1_km(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        """The mean of those of the 2 x 2 pixels over each 1 km pixel that were measured."""
        height, width = self.shape
        parts = self._over_1_km(values, grid).reshape(height, 2, width, 2)
        counts = np.isfinite(parts).sum((1, 3), dtype=self.dtype)
        with np.errstate(invalid="ignore"):
            return np.nansum(parts, (1, 3), dtype=self.dtype) / counts

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
                f"{self.product.folder}: reflectances of {values.shape} pixels, the first at row {above:g} and column "
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

    def temperature(self, values: np.ndarray) -> np.ndarray:
        return values

    def bayes(self, flags: Flags) -> np.ndarray:
        return flags.values

    def summary(self, flags: Flags) -> np.ndarray:
        return np.where(flags.any_of("summary_cloud"), np.uint8(255), np.uint8(0))


def _zenith(tie: Variable, shape: tuple[int, int], grid: Grid) -> np.ndarray:
    return interpolate(tie, grid.rows_on(tie.grid, shape[0]), grid.columns_on(tie.grid, shape[1]))


def _reflective(product: Product, make, dtype, radiances: bool) -> tuple[np.ndarray, Optional[np.ndarray]]:
    """Reflectances and, where asked for, radiances, [H, W, 6] each."""
    present = [band for band in REFLECTIVE if product.has(f"{band}_radiance_an.nc")]
    tie = product.tie_points()
    refs = np.full((*make.shape, len(REFLECTIVE)), make.missing, dtype)
    rads = np.full_like(refs, make.missing) if radiances else None
    if not present and np.nanmin(tie.values) >= NIGHT_DEGREES:
        return refs, rads  # a product of the night, without the channels that need the sun
    sun, sun_grid = None, None
    for number, band in enumerate(REFLECTIVE):
        found = product.variable(f"{band}_radiance_an.nc", f"{band}_radiance_an", dtype)
        if found.values.ndim != 2:
            raise UserError(f"{found.where} has shape {found.values.shape}: two axes expected")
        if sun is None or sun_grid != (found.grid, found.values.shape):
            sun = make.sun(make.zenith(tie, found.values.shape, found.grid))
            sun_grid = found.grid, found.values.shape
        radiance = make.radiance(band, found.values)
        if rads is not None:
            rads[..., number] = make.onto_1_km(radiance.copy(), found.grid)
        radiance *= dtype(np.pi)
        radiance /= make.irradiance(band, radiance.shape)
        radiance /= sun
        refs[..., number] = make.onto_1_km(radiance, found.grid)
    return refs, rads


def _irradiances(product: Product, band: str) -> np.ndarray:
    """Of each detector, in the radiance's unit times steradian."""
    name = f"{band}_solar_irradiance_an"
    found = product.variable(f"{band}_quality_an.nc", name)
    values = found.values.reshape(-1)
    if not (np.isfinite(values).all() and (values > 0).all() and 0 < len(values) < 256):
        raise UserError(f"{found.where} holds {values[:8]}: positive numbers expected")
    return values


def _resize(values: np.ndarray, shape: tuple[int, ...], anti_aliasing: bool) -> np.ndarray:
    """scikit-image's `resize` of order 1 (held to it by a test): a Gaussian, then linear interpolation of areas."""
    if values.shape == shape:
        return values
    factors = np.divide(values.shape, shape)
    if anti_aliasing and (factors == 2).all():
        return _halve(_halve(values).T).T
    if anti_aliasing and (factors > 1).any():
        values = ndimage.gaussian_filter(values, np.maximum(0, (factors - 1) / 2), mode="mirror")
    resized = ndimage.zoom(values, 1 / factors, order=1, mode="mirror", grid_mode=True)
    return np.clip(resized, values.min(), values.max(), out=resized)


def _halve(values: np.ndarray) -> np.ndarray:
    """Every two rows to one: the same Gaussian (deviation 0.5, cut at 4 deviations) and mean, as six weights."""
    gaussian = np.exp(-0.5 * (np.arange(-2, 3) / 0.5) ** 2)
    gaussian /= gaussian.sum()
    outer, middle, inner = (np.convolve(gaussian, [0.5, 0.5])[:3]).astype(values.dtype)
    count = len(values)
    padded = np.concatenate([values[2:0:-1], values, values[-2:-4:-1]])
    row = [padded[first : first + count : 2] for first in range(6)]
    result = row[2] + row[3]
    result *= inner
    result += middle * (row[1] + row[4])
    result += outer * (row[0] + row[5])
    return result

"""The conversion by which the benchmark's data set was made, in both of its public versions."""

import numpy as np

from cloudmask.sen3 import NIGHT_DEGREES
from cloudmask.sen3.product import Flags, Product, Variable
from cloudmask.sen3.resize import resize
from cloudmask.sen3.sun import Grid, interpolate, spline

# A degree in radians as the data set's converter has it: near the terminator its rounding is seen in the sixth digit.
_RADIANS = 0.017453292


class Dataset:
    """As the benchmark's converter."""

    missing = 0.0

    def __init__(self, product: Product, shape: tuple[int, ...], dtype):
        self.product, self.shape, self.dtype = product, shape, dtype

    def zenith(self, tie: Variable, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        """Zenith angle of the sun, degrees, [H, W] = `shape` pixels on `grid`."""
        return interpolate(tie.values, grid.rows_on(tie.grid, shape[0]), grid.columns_on(tie.grid, shape[1]), tie.where)

    def sun(self, zenith: np.ndarray) -> np.ndarray:
        """Cosine of the zenith angle; 1 in the night, where radiance is only scaled."""
        return np.where(zenith < NIGHT_DEGREES, np.cos(zenith * _RADIANS), 1.0).astype(self.dtype)

    def irradiance(self, band: str, shape: tuple) -> np.ndarray:
        """The first detector's."""
        return self.product.irradiances(band)[:1].astype(self.dtype)

    def radiance(self, band: str, values: np.ndarray) -> np.ndarray:
        return values

    def onto_1_km(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        return self._resized(values)

    def temperature(self, band: str, values: np.ndarray) -> np.ndarray:
        return self._resized(values)

    def _resized(self, values: np.ndarray) -> np.ndarray:
        return resize(np.nan_to_num(values, copy=False, nan=0.0), self.shape, anti_aliasing=True)

    def bayes(self, flags: Flags) -> np.ndarray:
        return self.mask(flags.values > 0)

    def mask(self, where: np.ndarray) -> np.ndarray:
        """0 or 255, and between them where a mask of another size was resized."""
        return resize(np.where(where, 255.0, 0.0), self.shape, anti_aliasing=False)


class DatasetLastRow(Dataset):
    """As the converter's earlier version, whose slip is the data set's own where it made the data set."""

    def zenith(self, tie: Variable, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        rows = np.arange(shape[0]) * grid.along / tie.grid.along + tie.grid.start_offset
        return spline(tie.values, rows, grid.columns_on(tie.grid, shape[1]))

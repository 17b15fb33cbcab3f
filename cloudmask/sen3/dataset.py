"""The conversion by which the benchmark's data set was made, in both of its public versions."""

import numpy as np

from cloudmask.sen3.kernels import halve
from cloudmask.sen3.product import Flags, Packed, Product, Variable, unpack
from cloudmask.sen3.resize import halving_weights, resize
from cloudmask.sen3.sun import Convention, Grid, check_inside

# A degree in radians as the data set's converter has it: near the terminator its rounding is seen in the sixth digit.
_RADIANS = 0.017453292


class Dataset:
    """As the benchmark's converter."""

    missing = 0.0

    def __init__(self, product: Product, shape: tuple[int, ...], dtype):
        self.product, self.shape, self.dtype = product, shape, dtype

    sun = Convention(_RADIANS, 1.0)  # radiance of the night is only scaled

    def rows(self, tie: Variable, shape: tuple[int, ...], grid: Grid) -> np.ndarray:
        """Row numbers on the tie points' grid. Raises UserError where the image lies outside of it."""
        rows = grid.rows_on(tie.grid, shape[0])
        check_inside(tie.values.shape, rows, grid.columns_on(tie.grid, shape[1]), tie.where)
        return rows

    def band(self, band: str, packed: Packed, inverse_sun: np.ndarray, refs: np.ndarray, rads: np.ndarray) -> None:
        """Fill refs [H, W], and rads unless it is empty, by the first detector's irradiance."""
        gain = np.pi / self.product.irradiances(band)[0]
        if packed.values.shape == (2 * self.shape[0], 2 * self.shape[1]) and min(self.shape) > 1:
            halve(packed.values, packed.packing, gain, inverse_sun, halving_weights(), refs, rads)
            return
        radiance = unpack(packed, self.dtype)
        if rads.size:
            rads[...] = self._resized(radiance.copy())
        radiance *= self.dtype(gain)
        radiance *= inverse_sun
        refs[...] = self._resized(radiance)

    def temperature(self, band: str, values: np.ndarray) -> np.ndarray:
        return self._resized(values)

    def _resized(self, values: np.ndarray) -> np.ndarray:
        values[np.isnan(values)] = 0.0
        return resize(values, self.shape, anti_aliasing=True)

    def bayes(self, flags: Flags) -> np.ndarray:
        return self.mask(flags.values > 0)

    def mask(self, where: np.ndarray) -> np.ndarray:
        """0 or 255, and between them where a mask of another size was resized."""
        return resize(np.where(where, 255.0, 0.0), self.shape, anti_aliasing=False)


class DatasetLastRow(Dataset):
    """As the converter's earlier version, whose slip is the data set's own where it made the data set."""

    def rows(self, tie: Variable, shape: tuple[int, ...], grid: Grid) -> np.ndarray:
        super().rows(tie, shape, grid)  # for its checks: nothing else shows here that an offset is wrong
        return np.arange(shape[0]) * grid.along / tie.grid.along + tie.grid.start_offset

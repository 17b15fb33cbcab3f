"""scikit-image's `resize` of order 1, as the benchmark's converter calls it."""

import numpy as np
from scipy import ndimage


def resize(values: np.ndarray, shape: tuple[int, ...], *, anti_aliasing: bool) -> np.ndarray:
    """An image [H, W] onto `shape`, held to scikit-image by a test: a Gaussian, then linear interpolation of areas."""
    if values.shape == shape:
        return values
    factors = np.divide(values.shape, shape)
    if anti_aliasing and (factors > 1).any():
        values = ndimage.gaussian_filter(values, np.maximum(0, (factors - 1) / 2), mode="mirror")
    resized = ndimage.zoom(values, 1 / factors, order=1, mode="mirror", grid_mode=True)
    return np.clip(resized, values.min(), values.max(), out=resized)


def halving_weights() -> tuple[float, float, float]:
    """What `resize` with anti-aliasing does to every two rows: the Gaussian (deviation 0.5, cut at 4 deviations) and
    the mean are weights of six rows, the outer, middle and inner ones alike."""
    gaussian = np.exp(-0.5 * (np.arange(-2, 3) / 0.5) ** 2)
    outer, middle, inner = np.convolve(gaussian / gaussian.sum(), [0.5, 0.5])[:3]
    return float(outer), float(middle), float(inner)

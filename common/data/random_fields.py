"""Random fields with a power-law spectrum, as moisture and terrain have, for made-up data.

Source: spectral synthesis of fractional Brownian surfaces (Peitgen and Saupe, The Science of Fractal Images, 1988).
"""

import numpy as np
from scipy import fft, ndimage


def fractal(rng: np.random.Generator, shape: tuple, slope: float, coarse: int = 1, stretch: float = 1.0) -> np.ndarray:
    """A random field of mean 0 and deviation 1 whose amplitude spectrum falls with frequency ** -slope.

    coarse: made on a grid so many times coarser and interpolated, for smooth fields. stretch: longer along the rows.
    """
    size = tuple(-(-length // coarse) + (coarse > 1) for length in shape)
    rows = np.fft.fftfreq(size[0]).astype(np.float32)[:, np.newaxis] * np.float32(size[0])
    columns = np.fft.rfftfreq(size[1]).astype(np.float32)[np.newaxis] * np.float32(size[0] * stretch)
    frequency = np.sqrt(rows**2 + columns**2)
    frequency[0, 0] = 1.0
    amplitude = frequency**-slope
    amplitude[0, 0] = 0.0
    spectrum = rng.standard_normal((*amplitude.shape, 2), np.float32).view(np.complex64)[..., 0] * amplitude
    field = fft.irfft2(spectrum, size)
    field *= 1.0 / field.std()
    if coarse > 1:
        field = ndimage.zoom(field, coarse, order=1)[: shape[0], : shape[1]]
    return field

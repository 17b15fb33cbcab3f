"""Random fields with a power-law spectrum, like those of moisture and terrain, for synthetic data.

Source: spectral synthesis of fractional Brownian surfaces (Peitgen and Saupe, The Science of Fractal Images, 1988).
"""

import numpy as np
from scipy import fft, ndimage


def fractal(rng: np.random.Generator, shape: tuple, slope: float, coarse: int = 1, stretch: float = 1.0) -> np.ndarray:
    """Generate a random field of mean 0 and standard deviation 1 with amplitudes proportional to frequency ** -slope.

    Args:
        rng: source of randomness.
        shape: (rows, columns) of the field.
        slope: exponent of the amplitude spectrum; larger values give smoother fields.
        coarse: factor by which the grid is coarser on which the field is generated, to be interpolated.
        stretch: factor by which structures are longer along the rows than across them.

    Returns:
        Field [rows, columns].
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

"""Latitude and longitude as real products keep them: whole microdegrees in 32 bits. As 32-bit floating point they would
be off by up to a metre at the date line, and compress less."""

import numpy as np

UNKNOWN = np.int32(-(2**31))
SCALE = 1e-6  # degrees
ATTRIBUTES = {"scale_factor": SCALE, "add_offset": 0.0}


def microdegrees(degrees: np.ndarray) -> np.ndarray:
    """int32 of an array in degrees; UNKNOWN where it is not finite."""
    known = np.isfinite(degrees)
    return np.where(known, np.rint(np.where(known, degrees, 0) / SCALE), UNKNOWN).astype(np.int32)


def degrees(packed: np.ndarray) -> np.ndarray:
    """float64 of an array in microdegrees; NaN where it is UNKNOWN."""
    return np.where(packed == UNKNOWN, np.nan, packed * SCALE)

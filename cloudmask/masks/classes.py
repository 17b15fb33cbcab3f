"""The classes of a mask, as every form of it has them: 0 clear, 1 cloud, 255 where nothing was measured."""

import numpy as np

MISSING = np.uint8(255)


def classes(probability: np.ndarray, measured: np.ndarray, threshold: float) -> np.ndarray:
    """Decide for each pixel: [H, W] uint8.

    Args:
        probability: [H, W] float32, of cloud.
        measured: [H, W] uint8, 0 where nothing was measured.
        threshold: the probability above which a pixel is cloud.
    """
    return np.where(measured.view(bool), (probability > threshold).view(np.uint8), MISSING)

"""The reliability diagram: whether a probability of 0.8 is cloud in 8 of 10 pixels."""

import os
from typing import Union

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from common import figures


def draw(curve: dict, target: Union[str, os.PathLike]) -> Figure:
    """Draw how often it is cloud over the network's probability of cloud, and how many pixels have that probability.

    Args:
        curve: as cloudmask.scoring.Scores.calibration_curve gives it, with at least one bin that is not empty.
        target: the PNG to write.

    Returns:
        The figure, of two panels.

    Raises:
        UserError: if the file cannot be written.
    """
    filled = [(p, c, n) for p, c, n in zip(curve["probability"], curve["cloud"], curve["pixels"]) if n]
    probability, cloud, pixels = map(np.array, zip(*filled))
    shape = {"sharex": True, "height_ratios": [3, 1]}
    with figures.picture(target, (4.8, 5.8), 2, 1, **shape) as (figure, ((above,), (below,))):
        above.plot([0, 1], [0, 1], color=figures.QUIET, linewidth=1, linestyle="--", label="perfectly calibrated")
        error = curve["expected_calibration_error"]
        above.plot(probability, cloud, **figures.look(0), label=f"network: expected calibration error {error:.4f}")
        above.set_title("calibration: below the line it says cloud too often")
        above.set_ylabel("share of cloud in the labels")
        above.set_ylim(-0.02, 1.02)
        above.legend()
        bins = len(curve["pixels"])
        below.bar((np.floor(probability * bins).clip(0, bins - 1) + 0.5) / bins, pixels / pixels.sum(), 0.9 / bins)
        below.set_xlabel("network: probability of cloud")
        below.set_ylabel("share of pixels")
        below.set_xlim(-0.02, 1.02)
        for axis in (above, below):
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axis.grid(True)
    return figure

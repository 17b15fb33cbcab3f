"""The threshold baseline: the single channel and threshold that best separate cloud from clear sky.

Thresholds are the traditional way to screen clouds, so a network should be measured against one. The baseline is fitted
to the training scenes by exhaustive search: histograms of cloudy and of clear pixels per channel, summed over ranks,
give the pixel accuracy of every threshold in both directions.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from cloudmask.config import DataSettings
from cloudmask.data.normalize import kelvin_of, reflectance_of
from cloudmask.data.patches import read_patches
from cloudmask.data.reader import CHANNELS, REFLECTANCES
from common import distributed
from common.data.files import DataFile
from common.data.order import share
from common.errors import UserError

CHANNEL_NAMES = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9")  # SLSTR bands
_BINS = 4096
_RANGE = (-5.0, 5.0)  # normalised values; a bin is 0.0024 of reflectance, or 0.05 K
_MOST_SCENES = 64  # for the fit; more change the third digit of the threshold and cost a pass over the archive


@dataclass(frozen=True)
class Threshold:
    """A rule that masks clouds by one channel.

    Args:
        channel: index of the channel in an image, 0 to 8.
        value: the threshold, in normalised units.
        cloud_above: whether values above it are cloud; else those up to it are.
        training_accuracy: share of the training pixels that the rule classifies correctly.
    """

    channel: int
    value: float
    cloud_above: bool
    training_accuracy: float

    def is_cloud(self, image: np.ndarray) -> np.ndarray:
        """Mask an image [..., 9], normalised: [...] bool, true where the rule finds cloud."""
        values = image[..., self.channel]
        return values > self.value if self.cloud_above else values <= self.value

    def __str__(self) -> str:
        reflectance = self.channel < REFLECTANCES
        shown = f"{reflectance_of(self.value):.3f}" if reflectance else f"{kelvin_of(self.value):.1f} K"
        return f"{CHANNEL_NAMES[self.channel]} {'>' if self.cloud_above else '<='} {shown}"

    def as_dict(self) -> dict:
        return asdict(self)


def stored(candidates: list[Path]) -> Optional[Threshold]:
    """Read the first of these baseline.json files that exists.

    Raises:
        UserError: if that file is damaged.
    """
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        return None
    try:
        rule = Threshold(**json.loads(path.read_text(encoding="utf-8")))
        if rule.channel not in range(CHANNELS) or not np.isfinite(rule.value) or not isinstance(rule.cloud_above, bool):
            raise ValueError(f"channel {rule.channel}, threshold {rule.value}, cloud above it: {rule.cloud_above}")
        return rule
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not a threshold baseline ({error}); remove it, or train again") from error


def fit(scenes: list[DataFile], settings: DataSettings, say: Callable[[str], None] = print) -> Threshold:
    """Find the best threshold over the training patches of at most 64 scenes. Collective.

    Args:
        scenes: the training scenes, the same on all ranks.
        settings: how they are read and cut into patches.
        say: called with a line for each scene in which nothing was measured.

    Raises:
        UserError: if nothing was measured in any of them, if all of their labels are cloud or all clear, or if a scene
            cannot be read.
    """
    chosen = scenes[:_MOST_SCENES]
    first, last = share(len(chosen), distributed.rank(), distributed.size())
    histogram = np.zeros((CHANNELS, 2, _BINS))
    problem, empty = None, []
    try:
        for scene in chosen[first:last]:
            scene.check()
            images, cloud, measured = read_patches(scene.path, settings)
            if not measured.any():
                empty.append(scene.path)
            _count(histogram, images, cloud, measured)
    except UserError as error:
        problem = error
    distributed.raise_together(problem)
    for path in [path for part in distributed.gather_objects(empty) for path in part]:
        say(f"{path}: nothing was measured in its patches, so they have no effect on training")
    total = distributed.sum_over_ranks(histogram)
    if not total.any():
        raise UserError(
            f"no pixel of the {len(chosen)} training scenes examined has a brightness temperature within "
            "data.temperature_range_kelvin: there is nothing to train on",
            on_all_ranks=True,
        )
    for kind, pixels in zip(("cloud", "clear"), total[0].sum(1)):  # of clear, then of cloudy ones
        if not pixels:
            raise UserError(
                f"every measured pixel of the {len(chosen)} training scenes examined is {kind} by data.labels: "
                f"{settings.labels}: there is nothing to learn from labels of one kind (0 is clear, above 0 cloud): "
                "choose others, or other scenes",
                on_all_ranks=True,
            )
    return best_threshold(total)


def _count(histogram: np.ndarray, images: np.ndarray, cloud: np.ndarray, measured: np.ndarray) -> None:
    """Add the measured pixels to histogram [channel, clear or cloud, bin]; the end bins take values beyond _RANGE."""
    low, high = _RANGE
    seen = measured[..., 0] > 0
    group = cloud[..., 0][seen].astype(np.int64) * _BINS
    for channel in range(CHANNELS):
        bins = ((images[..., channel][seen] - low) * (_BINS / (high - low))).astype(np.int64)
        counts = np.bincount(np.clip(bins, 0, _BINS - 1) + group, minlength=2 * _BINS)
        histogram[channel] += counts.reshape(2, _BINS)


def best_threshold(histogram: np.ndarray) -> Threshold:
    """Find the threshold that classifies most pixels correctly; among equals, the one of the first channel.

    Args:
        histogram: [channels, 2, bins], numbers of clear (0) and cloudy (1) pixels.
    """
    below = np.cumsum(histogram, axis=2)  # pixels at or below each bin's upper edge
    total = histogram[0].sum()
    above = below[:, :, -1:] - below
    right = {True: below[:, 0] + above[:, 1], False: below[:, 1] + above[:, 0]}  # cloud above, cloud below
    cloud_above = bool(right[True].max() >= right[False].max())
    channel, cut = np.unravel_index(np.argmax(right[cloud_above]), right[True].shape)
    low, high = _RANGE
    value = low + (cut + 1) * (high - low) / _BINS
    accuracy = right[cloud_above][channel, cut] / max(total, 1)
    return Threshold(int(channel), float(value), cloud_above, float(accuracy))

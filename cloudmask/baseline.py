"""The threshold baseline: the single channel and threshold that tell cloud from clear sky best.

Cloud screening was historically done by thresholds, so a network has to be measured against one. It is fitted on
the training scenes by exhaustive search: a histogram of cloudy and of clear pixels a channel, summed over ranks, gives
the pixel accuracy of every threshold in both directions.
"""

from dataclasses import asdict, dataclass

import numpy as np

from cloudmask.config import DataSettings
from cloudmask.data import scenes as data
from common import distributed
from common.data import batches as pipeline
from common.errors import UserError

CHANNEL_NAMES = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9")  # SLSTR bands
_BINS = 4096
_RANGE = (-5.0, 5.0)  # normalised values; a bin is 0.0024 of reflectance, or 0.05 K
_MOST_SCENES = 64  # for the fit; more change the third digit of the threshold and cost a pass over the archive


@dataclass(frozen=True)
class Threshold:
    channel: int
    value: float  # in normalised units
    cloud_above: bool
    training_accuracy: float

    def predict(self, image: np.ndarray) -> np.ndarray:
        """1.0 where `image` [..., 9] is cloud by this rule, else 0.0."""
        values = image[..., self.channel]
        return (values > self.value if self.cloud_above else values <= self.value).astype(np.float32)

    def __str__(self) -> str:
        reflectance = self.channel < data.REFLECTANCES
        shown = f"{self.value + 0.5:.3f}" if reflectance else f"{self.value * 22 + 270:.1f} K"
        return f"{CHANNEL_NAMES[self.channel]} {'>' if self.cloud_above else '<='} {shown}"

    def as_dict(self) -> dict:
        return asdict(self)


def fit(scenes: list, settings: DataSettings) -> Threshold:
    """The best threshold over the training patches of (at most 64 of) these scenes. A collective call."""
    chosen = scenes[:_MOST_SCENES]
    first, last = pipeline.share(len(chosen), distributed.rank(), distributed.size())
    histogram = np.zeros((data.CHANNELS, 2, _BINS))
    problem = None
    try:
        for scene in chosen[first:last]:
            scene.check()
            _count(histogram, *data.read_patches(scene.path, settings))
    except UserError as error:
        problem = error
    distributed.raise_together(problem)
    return best_threshold(distributed.sum_over_ranks(histogram))


def _count(histogram: np.ndarray, images: np.ndarray, cloud: np.ndarray, weight: np.ndarray) -> None:
    """Add pixels to histogram [channel, clear or cloud, bin]; what lies outside the range goes to the end bins."""
    low, high = _RANGE
    seen = weight[..., 0] > 0
    group = cloud[..., 0][seen].astype(np.int64) * _BINS
    for channel in range(data.CHANNELS):
        bins = ((images[..., channel][seen] - low) * (_BINS / (high - low))).astype(np.int64)
        counts = np.bincount(np.clip(bins, 0, _BINS - 1) + group, minlength=2 * _BINS)
        histogram[channel] += counts.reshape(2, _BINS)


def best_threshold(histogram: np.ndarray) -> Threshold:
    """histogram: [channels, clear or cloud, bins] of pixels. The first best in order of channels."""
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

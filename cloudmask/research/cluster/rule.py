"""Cold or bright is cloud: the rule that teaches a network in place of labels.

Clouds are colder than the ground below them (S8, 10.85 micrometres) or brighter (S1, 0.55 micrometres). Snow is bright
too, but dark at 1.61 micrometres (S5), where water clouds are not. Known failures are low cloud at night, cold ground,
sun glint and desert.
"""

from typing import NamedTuple

import numpy as np

from cloudmask.data.normalize import KELVIN_SCALE, REFLECTANCES, kelvin_of, reflectance_of
from cloudmask.research.config import ClusterSettings

_S1, _S5, _S8 = 0, 4, 7  # channels


class Verdict(NamedTuple):
    """Masks, [...] bool. cloud: where the rule finds cloud; sure: where it decides by a margin."""

    cloud: np.ndarray
    sure: np.ndarray


def judge(image: np.ndarray, settings: ClusterSettings) -> Verdict:
    """Apply the rule to an image.

    Args:
        image: [..., 9], normalised; where all reflectances are 0, as at night, the temperature alone decides.
        settings: the thresholds and the margin.
    """
    kelvin = kelvin_of(image[..., _S8])
    light = reflectance_of(np.minimum(image[..., _S1], image[..., _S5]))
    lit = (image[..., :REFLECTANCES] != 0).any(-1)
    brightness = np.where(lit, light, 0.0)
    colder, brighter = KELVIN_SCALE * settings.margin, settings.bright * settings.margin
    cloud = (kelvin < settings.cold_kelvin) | (brightness > settings.bright)
    sure_cloud = (kelvin < settings.cold_kelvin - colder) | (brightness > settings.bright + brighter)
    warm, dark = kelvin > settings.cold_kelvin + colder, brightness < settings.bright - brighter
    return Verdict(cloud, sure_cloud | (warm & dark))

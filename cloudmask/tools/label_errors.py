"""Labels that err as operational cloud masks do, made from what is known to be cloud.

Where such masks go wrong is known: thin cirrus is missed, so is low cloud by night, which is nearly as warm as the
ground; snow and ice, sun glint and coasts are taken for cloud. Here each pixel has a propensity to be labelled wrongly,
high in these places and low elsewhere, to which a random field is added, so that errors come in patches and not as
salt and pepper; the pixels of highest propensity are flipped, as many as the rate says. The propensities are
assumptions of ours: made-up errors show what a method does about errors of this kind, not how large they are.
"""

import numpy as np
from scipy import ndimage

from common.data.random_fields import fractal

LOW_CLOUD, HIGH_CLOUD, CIRRUS = 1, 2, 4  # bits of truth and labels; any of them means cloud
SUSPECT = 2.5  # log odds by which a suspect pixel errs more often than another; a choice of ours
_THIN = 1.0  # visible optical thickness below which cirrus is easily missed
_LOGISTIC = np.float32(np.pi / np.sqrt(3.0))  # standard deviation of the logistic distribution
_FROM_COAST = 5  # pixels, edge of the window in which a coast is near


def suspects(truth: np.ndarray, cirrus: np.ndarray, sun: np.ndarray, surface: dict[str, np.ndarray]) -> np.ndarray:
    """Where operational masks err most, [H, W] bool.

    truth: [H, W] the kinds of cloud as bits, 0 clear. cirrus: [H, W] its optical
    thickness. sun: [H, W] cosine of its zenith angle, 0 by night. surface: [H, W] bool of sun_glint, snow, coastline.
    """
    missed = (truth == CIRRUS) & (cirrus < _THIN)
    missed |= (truth == LOW_CLOUD) & (sun <= 0)
    near_coast = ndimage.maximum_filter(surface["coastline"], _FROM_COAST)
    return missed | ((truth == 0) & (surface["snow"] | (surface["sun_glint"] & (sun > 0)) | near_coast))


def flip(rng: np.random.Generator, truth: np.ndarray, suspect: np.ndarray, rate: float) -> np.ndarray:
    """The labels, [H, W] uint8: `truth` with the share `rate` of all pixels wrong, in patches, suspect ones first.

    A missed cloud is 0, a false one LOW_CLOUD, as single_low of a product's Bayesian mask.
    """
    if not rate:
        return truth.copy()
    propensity = np.float32(SUSPECT) * suspect + _LOGISTIC * fractal(rng, truth.shape, 1.0)
    wrong = propensity > np.quantile(propensity, 1.0 - rate)
    return np.where(wrong, np.where(truth == 0, np.uint8(LOW_CLOUD), np.uint8(0)), truth)

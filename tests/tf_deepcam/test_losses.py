"""The losses besides the benchmark's, by hand."""

import numpy as np
import pytest

from tf_deepcam import losses
from tf_deepcam.config import LossSettings

PROBABILITIES = np.array([[[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]]], np.float32)
LABELS = np.array([[[0, 2, 1]]])  # the second is a false cyclone, the third a false river


def pixels(**settings) -> np.ndarray:
    return losses.pixel_loss(LABELS, np.log(PROBABILITIES), LossSettings(**settings)).numpy().ravel()


def test_focal_loss_lowers_what_is_easy():
    expected = [-np.log(0.5) * 0.5**2, -np.log(0.1) * 0.9**2, -np.log(0.2) * 0.8**2]
    np.testing.assert_allclose(pixels(loss="focal", loss_weight_pow=0.0), expected, rtol=1e-5)


def test_false_positives_weigh_more():
    weighted = pixels()
    found = pixels(loss="false_positive", fpw_1=3.0, fpw_2=0.5)
    np.testing.assert_allclose(found, weighted * [1, 4, 1.5], rtol=1e-6)


@pytest.mark.parametrize("power", [-0.125, -0.5])
def test_class_weights_follow_the_power(power):
    expected = np.array(losses.CLASS_FREQUENCIES)[LABELS.ravel()] ** power * -np.log([0.5, 0.1, 0.2])
    np.testing.assert_allclose(pixels(loss_weight_pow=power), expected, rtol=1e-5)

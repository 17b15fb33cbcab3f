"""Each loss by its paper's formula in numbers, its gradient where the paper speaks of it, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from cloudmask import config
from cloudmask.config import LossSettings
from cloudmask.losses import LOSSES, pixel_loss
from cloudmask.task import objective
from common.errors import UserError


def loss(name: str, label: float, probability: float, **parameters) -> float:
    settings = LossSettings(loss=name, **parameters)
    return float(pixel_loss(tf.constant([label]), tf.constant([probability]), settings)[0])


@pytest.mark.parametrize(
    ("name", "label", "probability", "expected"),
    [
        ("bce", 1.0, 0.8, 0.2231436),
        ("bce", 0.0, 0.8, 1.6094379),
        ("symmetric", 1.0, 0.8, 0.1 * 0.2231436 + 4 * 0.2),  # reverse: -(1 - 0.8) * log 0
        ("symmetric", 0.0, 0.8, 0.1 * 1.6094379 + 4 * 0.8),
    ],
)
def test_by_hand(name, label, probability, expected):
    assert loss(name, label, probability) == pytest.approx(expected, rel=1e-5)


def test_a_wrong_label_pulls_less_than_with_cross_entropy():
    """dL/dp at a sure prediction against the label: -1/p of cross entropy, -0.1/p - 4 of the symmetric loss."""
    probability = tf.constant([0.01])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(probability)
        plain, robust = (pixel_loss(tf.ones(1), probability, LossSettings(loss=x)) for x in ("bce", "symmetric"))
    assert float(tape.gradient(plain, probability)) == pytest.approx(-100, rel=1e-3)
    assert float(tape.gradient(robust, probability)) == pytest.approx(-14, rel=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_smoothing_is_the_mean_over_classes_weighted_by_the_label(name):
    """For losses linear in the label, which the reverse cross entropy's logarithm of the label is not."""
    smoothed = loss(name, 1.0, 0.8, label_smoothing=0.2)
    if name == "symmetric":
        entropy = 0.9 * loss("bce", 1.0, 0.8) + 0.1 * loss("bce", 0.0, 0.8)
        assert smoothed == pytest.approx(0.1 * entropy - 0.8 * np.log(0.9) - 0.2 * np.log(0.1), rel=1e-5)
    else:
        assert smoothed == pytest.approx(0.9 * loss(name, 1.0, 0.8) + 0.1 * loss(name, 0.0, 0.8), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_sure_predictions_are_finite(name, probability):
    for label in (0.0, 1.0):
        assert np.isfinite(loss(name, label, probability))


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_that_were_not_measured_have_no_weight(name):
    cloud, measured = np.uint8([[[[1], [0]]]]), np.uint8([[[[1], [0]]]])
    terms = objective((None, cloud, measured), tf.constant([[[[0.8], [0.9]]]]), loss=LossSettings(loss=name))
    total, weight = terms["loss"]
    assert float(total / weight) == pytest.approx(loss(name, 1.0, 0.8), rel=1e-5)


def test_the_default_is_keras_own_bit_for_bit():
    rng = np.random.default_rng(1)
    label = tf.constant(rng.integers(0, 2, (4, 8, 8, 1)), tf.float32)
    probability = tf.constant(rng.random((4, 8, 8, 1)), tf.float32)
    total, _ = objective((None, label, tf.ones_like(label)), probability)["loss"]
    assert float(total) == float(tf.reduce_mean(tf.keras.backend.binary_crossentropy(label, probability)))


def test_an_unknown_loss_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"'loss.loss' should be .*: did you mean 'symmetric'\? \(found: 'symetric'\)"):
        config.load(overrides=["loss.loss=symetric"])


def test_every_loss_that_can_be_set_is_there():
    assert set(LOSSES) == set(config.LossName.__args__)

"""Losses per pixel, from the label and the predicted probability of cloud.

Each maps (label, probability), tensors [...] float32, to the loss of each pixel, [...]. A label is 0, 1 or, after
smoothing, in between; the loss is then the mean over the two classes, weighted by the label. Probabilities are clipped
to [1e-7, 1 - 1e-7], as Keras does.

bce        binary cross entropy, the reference program's: the default
symmetric  for labels that may be wrong: cross entropy plus reverse cross entropy, in which label and prediction trade
           places and log 0 is a constant (Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels",
           ICCV 2019)

Others were tried: see docs/decisions/001-losses-for-wrong-labels.md.
"""

from typing import Callable

import tensorflow as tf

from cloudmask.config import LossSettings

_CLIPPED = 1e-7
_ALPHA, _BETA, _LOG_ZERO = 0.1, 1.0, -4.0  # symmetric: the paper's for CIFAR-10

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def pixel_loss(label: tf.Tensor, probability: tf.Tensor, settings: LossSettings) -> tf.Tensor:
    """Compute the loss that the settings name.

    Args:
        label: [...] float32, 0 or 1.
        probability: [...] float32, of cloud.
        settings: which loss, and how far labels are smoothed.

    Returns:
        The loss of each pixel, [...] float32.
    """
    smoothing = settings.label_smoothing
    if smoothing:  # towards 0.5: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016
        label = label * (1.0 - smoothing) + 0.5 * smoothing
    return LOSSES[settings.loss](label, probability)


def _bce(label: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    # Keras' own formula and clipping, so that losses compare with the reference's.
    return tf.keras.backend.binary_crossentropy(label, probability)


def _symmetric(label: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    p, lowest = tf.clip_by_value(probability, _CLIPPED, 1.0 - _CLIPPED), tf.exp(_LOG_ZERO)
    reverse = -p * tf.math.log(tf.maximum(label, lowest)) - (1.0 - p) * tf.math.log(tf.maximum(1.0 - label, lowest))
    return _ALPHA * _bce(label, probability) + _BETA * reverse


LOSSES: dict[str, Loss] = {"bce": _bce, "symmetric": _symmetric}

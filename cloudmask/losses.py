"""Losses of one pixel for labels that may be wrong, from the label and the probability of cloud.

Each is a function of (label, probability, settings), tensors [...] float32, to the loss of each pixel [...]. A label is
0, 1 or, after smoothing, between; then a loss is the mean over the two classes, weighted by the label. Probabilities
are clipped to 1e-7 from both ends, as Keras does.

bce          binary cross entropy, as the reference program: the default
symmetric    cross entropy and reverse cross entropy, in which label and prediction change places and log 0 is a
             constant (Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", ICCV 2019)
generalized  (1 - p^q) / q of the labelled class's probability p: cross entropy as q goes to 0, mean absolute error at 1
             (Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
             NeurIPS 2018)
bootstrap    cross entropy against a mixture of the label and the prediction itself, the soft form (Reed et al.,
             "Training Deep Neural Networks on Noisy Labels with Bootstrapping", ICLR 2015 workshop)
focal        cross entropy with a weight that falls where the prediction is sure and right (Lin et al., "Focal Loss for
             Dense Object Detection", ICCV 2017); made for rare classes, and here because it is often tried
"""

from typing import Callable

import tensorflow as tf

from cloudmask.experiments import LossSettings

_CLIPPED = 1e-7

Loss = Callable[[tf.Tensor, tf.Tensor, LossSettings], tf.Tensor]


def pixel_loss(label: tf.Tensor, probability: tf.Tensor, settings: LossSettings) -> tf.Tensor:
    """The loss that the settings name, of each pixel. label: [...] float32, 0 or 1; probability: [...] of cloud."""
    smoothing = settings.label_smoothing
    if smoothing:  # towards 0.5: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016
        label = label * (1.0 - smoothing) + 0.5 * smoothing
    return LOSSES[settings.loss](label, probability, settings)


def _clip(probability: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(probability, _CLIPPED, 1.0 - _CLIPPED)


def _bce(label: tf.Tensor, probability: tf.Tensor, settings: LossSettings) -> tf.Tensor:
    # Keras' own formula and clipping, so that losses compare with the reference's.
    return tf.keras.backend.binary_crossentropy(label, probability)


def _symmetric(label: tf.Tensor, probability: tf.Tensor, settings: LossSettings) -> tf.Tensor:
    p, lowest = _clip(probability), tf.exp(settings.symmetric_log_zero)
    reverse = -p * tf.math.log(tf.maximum(label, lowest)) - (1.0 - p) * tf.math.log(tf.maximum(1.0 - label, lowest))
    return settings.symmetric_alpha * _bce(label, probability, settings) + settings.symmetric_beta * reverse


def _generalized(label: tf.Tensor, probability: tf.Tensor, settings: LossSettings) -> tf.Tensor:
    p, q = _clip(probability), settings.generalized_q
    return (label * (1.0 - p**q) + (1.0 - label) * (1.0 - (1.0 - p) ** q)) / q


def _bootstrap(label: tf.Tensor, probability: tf.Tensor, settings: LossSettings) -> tf.Tensor:
    # The gradient goes through the prediction in the mixture too: it draws predictions towards being sure.
    p, share = _clip(probability), settings.bootstrap_beta
    mixture = share * label + (1.0 - share) * p
    return -mixture * tf.math.log(p) - (1.0 - mixture) * tf.math.log(1.0 - p)


def _focal(label: tf.Tensor, probability: tf.Tensor, settings: LossSettings) -> tf.Tensor:
    p, gamma, alpha = _clip(probability), settings.focal_gamma, settings.focal_alpha
    cloud = -alpha * (1.0 - p) ** gamma * tf.math.log(p)
    clear = -(1.0 - alpha) * p**gamma * tf.math.log(1.0 - p)
    return label * cloud + (1.0 - label) * clear


LOSSES: dict[str, Loss] = {
    "bce": _bce,
    "symmetric": _symmetric,
    "generalized": _generalized,
    "bootstrap": _bootstrap,
    "focal": _focal,
}

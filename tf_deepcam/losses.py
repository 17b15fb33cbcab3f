"""DeepCAM's losses: a value per pixel, which training averages over all pixels.

- weighted: cross entropy times the true class's weight, as in MLPerf HPC's reference (the mean is over pixels, not
  divided by the weights' sum). Weights are class frequency ** -0.125 (Kurth et al., arXiv:1810.01993, section V-B).
- focal: weighted, times (1 - probability of the true class) ** 2 (Lin et al., arXiv:1708.02002; the exponent is
  ClimDeepLearn's).
- false_positive: weighted, times 1 + fpw_1 where a tropical cyclone is predicted and there is none, and 1 + fpw_2
  likewise for atmospheric rivers (the reference program's older loss).
"""

import tensorflow as tf

from tf_deepcam.config import LossSettings

# The reference's: shares of background, tropical cyclone and atmospheric river in the CAM5 data set, and the power.
CLASS_FREQUENCIES = (0.986267818390377, 0.0004578708870701058, 0.01327431072255291)
_FOCAL_GAMMA = 2.0
CLASS_WEIGHTS = tuple(frequency**-0.125 for frequency in CLASS_FREQUENCIES)


def pixel_loss(labels: tf.Tensor, logits: tf.Tensor, settings: LossSettings) -> tf.Tensor:
    """Compute the loss of each pixel.

    Args:
        labels: [batch, height, width] integer.
        logits: [batch, height, width, 3] float32.
        settings: which loss, and its weights.

    Returns:
        [batch, height, width] float32.
    """
    # On GPUs TensorFlow reshapes int32 in host memory, and compares it there (tests/graph_on_gpu.py).
    classes = tf.cast(labels, tf.uint8)
    labels = tf.cast(labels, tf.int64)
    weights = tf.constant([frequency**settings.loss_weight_pow for frequency in CLASS_FREQUENCIES], tf.float32)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    loss = entropy * tf.gather(weights, labels)
    if settings.loss == "focal":
        # exp(-entropy) is the probability of the true class.
        loss *= tf.pow(-tf.math.expm1(-entropy), _FOCAL_GAMMA)
    elif settings.loss == "false_positive":
        predicted = tf.cast(tf.argmax(logits, -1), tf.uint8)
        for number, weight in ((1, settings.fpw_1), (2, settings.fpw_2)):
            wrong = tf.cast((predicted == number) & (classes != number), tf.float32)
            loss *= 1.0 + weight * wrong
    return loss


def weighted_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Compute the benchmark's loss, a scalar."""
    return tf.reduce_mean(pixel_loss(labels, logits, LossSettings()))

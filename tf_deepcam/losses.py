"""What DeepCAM's training minimises.

Weighted cross entropy as in MLPerf HPC's reference: each pixel's cross entropy times its class's weight, averaged over
all pixels (not divided by the weights' sum). The weights are class frequency ** -0.125 (Kurth et al.,
arXiv:1810.01993, section V-B, for weighting by a power of the frequency).
"""

import tensorflow as tf

# Shares of background, tropical cyclone and atmospheric river in the CAM5 data set, and the power, of the reference.
CLASS_FREQUENCIES = (0.986267818390377, 0.0004578708870701058, 0.01327431072255291)
CLASS_WEIGHTS = tuple(frequency**-0.125 for frequency in CLASS_FREQUENCIES)


def weighted_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, class_weights: tuple = CLASS_WEIGHTS) -> tf.Tensor:
    """labels: [batch, height, width] integer; logits: [batch, height, width, classes] float32. Returns a scalar."""
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
    return tf.reduce_mean(entropy * tf.gather(tf.constant(class_weights, tf.float32), tf.cast(labels, tf.int32)))

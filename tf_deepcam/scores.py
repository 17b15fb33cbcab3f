"""The benchmark's score: mean intersection over union of a sample's classes."""

import tensorflow as tf


def intersection_over_union(predicted: tf.Tensor, truth: tf.Tensor, classes: int) -> tf.Tensor:
    """Mean intersection over union of each sample over its classes, [batch] float32.

    predicted, truth: [batch, height, width] integer class, below 256. A class that is in neither counts as 1, as in
    MLPerf HPC's DeepCAM reference; its score of a data set is the mean of these over all samples (add up, then divide
    once).
    """
    # uint8: TensorFlow compares int32 in host memory, also on GPUs (tests/graph_on_gpu.py).
    predicted, truth = tf.cast(predicted, tf.uint8), tf.cast(truth, tf.uint8)
    scores = []
    for number in range(classes):
        found, wanted = predicted == number, truth == number
        both = tf.math.count_nonzero(found & wanted, axis=(1, 2))
        either = tf.math.count_nonzero(found | wanted, axis=(1, 2))
        scores.append(tf.where(either > 0, both / tf.maximum(either, 1), tf.ones_like(both, tf.float64)))
    return tf.cast(tf.add_n(scores) / classes, tf.float32)

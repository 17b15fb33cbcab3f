"""The benchmark's score: mean intersection over union of a sample's classes."""

import tensorflow as tf


def intersection_over_union(predicted: tf.Tensor, truth: tf.Tensor, classes: int) -> tf.Tensor:
    """Compute the mean intersection over union over the classes of each sample.

    A class that is in neither counts as 1, as in MLPerf HPC's DeepCAM reference. The score of a data set is the mean
    over all its samples (add up, then divide once).

    Args:
        predicted: [batch, height, width] integer class, below 256.
        truth: the same of the labels.
        classes: number of classes.

    Returns:
        [batch] float32.
    """
    # uint8: TensorFlow compares int32 in host memory even on GPUs (tests/graph_on_gpu.py).
    predicted, truth = tf.cast(predicted, tf.uint8), tf.cast(truth, tf.uint8)
    scores = []
    for number in range(classes):
        in_predicted, in_truth = predicted == number, truth == number
        both = tf.math.count_nonzero(in_predicted & in_truth, axis=(1, 2))
        either = tf.math.count_nonzero(in_predicted | in_truth, axis=(1, 2))
        scores.append(tf.where(either > 0, both / tf.maximum(either, 1), tf.ones_like(both, tf.float64)))
    return tf.cast(tf.add_n(scores) / classes, tf.float32)

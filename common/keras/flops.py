"""The work of a network, counted by TensorFlow's profiler."""

import tensorflow as tf


def forward_gflop(network: tf.keras.Model, shape: tuple) -> float:
    """Floating-point operations of one sample's forward pass in 10^9.

    shape: (height, width, channels). A multiplication and an addition count as two.
    """
    inference = tf.function(lambda fields: network(fields, training=False), autograph=False)
    graph = inference.get_concrete_function(tf.TensorSpec((1, *shape), tf.float32)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    found = tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build())
    return found.total_float_ops / 1e9

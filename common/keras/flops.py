"""The floating-point operations of a network, counted by TensorFlow's profiler."""

import tensorflow as tf


def forward_gflop(network: tf.keras.Model, shape: tuple) -> float:
    """Count the floating-point operations of one sample's forward pass, in units of 10^9.

    A multiplication and an addition count as two.

    Args:
        network: takes [batch, *shape] float32.
        shape: (height, width, channels) of a sample.
    """
    inference = tf.function(lambda fields: network(fields, training=False), autograph=False)
    graph = inference.get_concrete_function(tf.TensorSpec((1, *shape), tf.float32)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    profile = tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build())
    return profile.total_float_ops / 1e9

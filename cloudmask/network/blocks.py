"""Building blocks of the networks that are faster than the reference: input, convolution with ReLU, output."""

import tensorflow as tf

from cloudmask.data.scenes import CHANNELS


def inputs() -> tf.Tensor:
    """The input of a network: [batch, height, width, 9], normalised."""
    return tf.keras.layers.Input((None, None, CHANNELS))


def convolution(x: tf.Tensor, channels: int, size: int = 3) -> tf.Tensor:
    """Apply a convolution of `size` x `size` and ReLU to x [batch, height, width, any]."""
    layers = tf.keras.layers
    x = layers.Conv2D(channels, size, padding="same", kernel_initializer="he_normal")(x)
    return layers.ReLU()(x)


def probability(x: tf.Tensor) -> tf.Tensor:
    """Map features x to the probability of cloud, [batch, height, width, 1].

    It is float32 also in mixed precision: bfloat16 cannot represent 1 - 1e-4.
    """
    layer = tf.keras.layers.Conv2D(1, 1, activation="sigmoid", kernel_initializer="he_normal", dtype="float32")
    return layer(x)

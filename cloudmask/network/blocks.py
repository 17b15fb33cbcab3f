"""What the networks have in common that need less time than the reference: input, convolution with ReLU, output."""

import tensorflow as tf

from cloudmask.data.scenes import CHANNELS


def inputs() -> tf.Tensor:
    """[batch, height, width, 9], normalised."""
    return tf.keras.layers.Input((None, None, CHANNELS))


def convolution(x: tf.Tensor, channels: int, size: int = 3) -> tf.Tensor:
    """size x size, with ReLU."""
    layers = tf.keras.layers
    x = layers.Conv2D(channels, size, padding="same", kernel_initializer="he_normal")(x)
    return layers.ReLU()(x)


def probability(x: tf.Tensor) -> tf.Tensor:
    """Of cloud, [batch, height, width, 1] float32 also in mixed precision: 1 - 1e-4 does not exist in bfloat16."""
    layer = tf.keras.layers.Conv2D(1, 1, activation="sigmoid", kernel_initializer="he_normal", dtype="float32")
    return layer(x)

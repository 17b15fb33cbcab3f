"""An encoder and a decoder around any block: the U-Net's shape for networks that need less time than the reference.

Each level applies its block; max pooling down, nearest up-sampling and concatenation up; one sigmoid output. After
Ronneberger et al., arXiv:1505.04597. The reference's own network is in cloudmask.network.unet.
"""

from typing import Callable

import tensorflow as tf

from cloudmask.data.scenes import CHANNELS
from cloudmask.network.unet import twice_as_large

Block = Callable[[tf.Tensor, int], tf.Tensor]  # from an input and a number of channels


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


def encoder_decoder(x: tf.Tensor, block: Block, channels: tuple[int, ...]) -> tf.Tensor:
    """channels: of each level, the finest first; height and width must be multiples of 2 ** (levels - 1)."""
    layers = tf.keras.layers
    skipped = []
    for number in channels[:-1]:
        x = block(x, number)
        skipped.append(x)
        x = layers.MaxPool2D(2)(x)
    x = block(x, channels[-1])
    for number in reversed(channels[:-1]):
        larger = layers.UpSampling2D(2)
        larger.call = twice_as_large  # its gradient is known to XLA
        x = layers.Concatenate()([larger(x), skipped.pop()])
        x = block(x, number)
    return x

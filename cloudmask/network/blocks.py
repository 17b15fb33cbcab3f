"""An encoder and a decoder around any block: the U-Net's shape for networks that need less time than the reference.

Each level applies its block; max pooling down, nearest up-sampling and concatenation up; one sigmoid output. After
Ronneberger et al., arXiv:1505.04597. The reference's own network is in cloudmask.network.unet.
"""

from typing import Callable

import tensorflow as tf

from cloudmask.data.scenes import CHANNELS

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


@tf.custom_gradient
def twice_as_large(x: tf.Tensor):
    """Every pixel of [batch, height, width, channels] four times: nearest up-sampling by 2.

    TensorFlow's own operation for it has a gradient that XLA does not know and that is not deterministic on GPUs. The
    gradient is a sum over 2 x 2 pixels: pooling, which is exact (a factor of 4) and 100 times as fast as reduce_sum.
    """
    batch, height, width, channels = (
        size if number is None else number for size, number in zip(tf.unstack(tf.shape(x)), x.shape)
    )
    copies = tf.broadcast_to(x[:, :, None, :, None, :], [batch, height, 2, width, 2, channels])

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return 4 * tf.nn.avg_pool2d(upstream, 2, 2, "VALID")

    return tf.reshape(copies, [batch, 2 * height, 2 * width, channels]), gradient


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

"""The U-Net of the CloudMask reference program: 39 layers as Keras counts them, 1,948,609 parameters.

Two 3 x 3 convolutions with ReLU a level, at 32, 64, 128 and 256 channels; max pooling down, nearest up-sampling and
concatenation up; one sigmoid output, the probability of cloud. Architecture after Ronneberger et al.,
arXiv:1505.04597, in MLCommons Science's variant. Kernels are drawn from he_normal.
"""

from types import MethodType
from typing import Any, Callable

import tensorflow as tf

from cloudmask.data.scenes import CHANNELS
from cloudmask.network import decoders

FACTOR = 8  # three poolings: height and width must be multiples of this
# Pixels that an output pixel may see on each side: the convolutions reach 2 * (1 + 2 + 4) going down, 2 * 8 at the
# bottom and 2 * (4 + 2 + 1) going up, and the pooling cell adds up to 7; 51, rounded up to the pooling grid.
RECEPTIVE_FIELD = 56
CHANNELS_OF_LEVELS = (32, 64, 128, 256)
NARROW = (12, 24, 48, 96)  # three eighths of them: a seventh of the work, the same view

Decoder = Callable[[tf.Tensor, tf.Tensor, tf.keras.layers.Conv2D], tf.Tensor]


def unet(decoder: str = "transposed", levels: tuple[int, ...] = CHANNELS_OF_LEVELS) -> tf.keras.Model:
    """[batch, height, width, 9] float32, normalised, to [batch, height, width, 1] float32, probability of cloud.

    decoder: layers or transposed, the form of cloudmask.network.decoders in which it computes; it is saved as layers.
    levels: channels of each; the reference's where nothing else is said.
    """
    down = [(*_two_convolutions(channels), tf.keras.layers.MaxPool2D(2)) for channels in levels[:-1]]
    bottom = _two_convolutions(levels[-1])
    up = [_two_convolutions(channels) for channels in reversed(levels[:-1])]
    # float32 also in mixed precision: a probability of 1 - 1e-4 does not exist in bfloat16.
    last = tf.keras.layers.Conv2D(
        1, 1, activation="sigmoid", padding="same", kernel_initializer="he_normal", dtype="float32"
    )

    def connect(x: Any, decode: Decoder) -> Any:
        skipped = []
        for *convolutions, pooling in down:
            x = _chain(convolutions, x)
            skipped.append(x)
            x = pooling(x)
        x = _chain(bottom, x)
        for first, *others in up:
            x = _chain(others, decode(x, skipped.pop(), first))
        return last(x)

    inputs = tf.keras.layers.Input((None, None, CHANNELS))
    network = tf.keras.Model(inputs, connect(inputs, decoders.layers), name="cloudmask_unet")

    def call(self, inputs, training=None, mask=None):  # Keras' signature; training makes no difference here
        return connect(tf.cast(inputs, self.compute_dtype), decoders.transposed)

    if decoder == "transposed":
        network.call = MethodType(call, network)
    return network


def _two_convolutions(channels: int) -> tuple:
    layers = tf.keras.layers
    return tuple(
        layer
        for _ in range(2)
        for layer in (layers.Conv2D(channels, 3, padding="same", kernel_initializer="he_normal"), layers.ReLU())
    )


def _chain(layers, x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x

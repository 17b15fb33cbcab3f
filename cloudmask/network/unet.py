"""The U-Net of the CloudMask reference program: 39 layers as Keras counts them, 1,948,609 parameters.

Two 3 x 3 convolutions with ReLU a level, at 32, 64, 128 and 256 channels; max pooling down, nearest up-sampling and
concatenation up; one sigmoid output, the probability of cloud. Architecture after Ronneberger et al.,
arXiv:1505.04597, in MLCommons Science's variant. Kernels are drawn from he_normal.
"""

from functools import partial
from typing import Any, Callable

import tensorflow as tf

from cloudmask.data.scenes import CHANNELS
from cloudmask.network import decoders
from cloudmask.network.up_sampling import Savable

FACTOR = 8  # three poolings: height and width must be multiples of this
# Pixels that an output pixel may see on each side: the convolutions reach 2 * (1 + 2 + 4) going down, 2 * 8 at the
# bottom and 2 * (4 + 2 + 1) going up, and the pooling cell adds up to 7; 51, rounded up to the pooling grid.
RECEPTIVE_FIELD = 56
CHANNELS_OF_LEVELS = (32, 64, 128, 256)
_NAME = "cloudmask_unet"
NARROW = (12, 24, 48, 96)  # three eighths of them: a seventh of the work, the same view

Decoder = Callable[[tf.Tensor, tf.Tensor, tf.keras.layers.Conv2D], tf.Tensor]


class TransposedUNet(Savable):
    """A U-Net of layers that computes its steps up as transposed convolutions, of the layers' own arrays."""

    def __init__(self, inputs: tf.Tensor, outputs: tf.Tensor, compute: Callable[[tf.Tensor], tf.Tensor], **options):
        """compute: the function of the layers, of a batch in their type."""
        super().__init__(inputs, outputs, **options)
        self._compute = compute

    def call(self, inputs, training=None, mask=None):  # Keras' signature; training makes no difference here
        return self._compute(tf.cast(inputs, self.compute_dtype))


def unet(*, layered: bool = False, levels: tuple[int, ...] = CHANNELS_OF_LEVELS) -> tf.keras.Model:
    """[batch, height, width, 9] float32, normalised, to [batch, height, width, 1] float32, probability of cloud.

    Args:
        layered: compute by the reference's layers one after the other, equal to them to the last bit, in place of
            transposed convolutions (cloudmask.network.decoders). The network is saved as layers either way.
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
    if layered:
        return Savable(inputs, connect(inputs, decoders.layers), name=_NAME)
    as_keras = connect(inputs, partial(decoders.layers, larger=tf.keras.layers.UpSampling2D))
    return TransposedUNet(inputs, as_keras, partial(connect, decode=decoders.transposed), name=_NAME)


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

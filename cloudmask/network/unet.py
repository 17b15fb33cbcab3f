"""The U-Net of the CloudMask reference program: 39 layers as Keras counts them, 1,948,609 parameters.

Each level has two 3 x 3 convolutions with ReLU, of 32, 64, 128 and 256 channels; max pooling leads down, nearest
up-sampling and concatenation lead up; one sigmoid output gives the probability of cloud. After Ronneberger et al.,
arXiv:1505.04597, in MLCommons Science's variant. Kernels are initialised by he_normal.
"""

from functools import partial
from typing import Any, Callable

import tensorflow as tf

from cloudmask.data.scenes import CHANNELS
from cloudmask.network import decoders
from cloudmask.network.up_sampling import Savable

FACTOR = 8  # three poolings: height and width must be multiples of this
# Pixels that an output pixel sees on each side: the convolutions reach 2 * (1 + 2 + 4) going down, 2 * 8 at the
# bottom and 2 * (4 + 2 + 1) going up, and the pooling cell adds up to 7; 51, rounded up to the pooling grid.
RECEPTIVE_FIELD = 56
CHANNELS_OF_LEVELS = (32, 64, 128, 256)
_NAME = "cloudmask_unet"
NARROW = (12, 24, 48, 96)  # three eighths of those: a seventh of the work, the same receptive field

Decoder = Callable[[tf.Tensor, tf.Tensor, tf.keras.layers.Conv2D], tf.Tensor]


class TransposedUNet(Savable):
    """A U-Net of layers whose decoder steps are computed as transposed convolutions of the layers' own weights."""

    def __init__(self, inputs: tf.Tensor, outputs: tf.Tensor, compute: Callable[[tf.Tensor], tf.Tensor], **options):
        """compute: the network's function of a batch in the layers' type."""
        super().__init__(inputs, outputs, **options)
        self._compute = compute

    def call(self, inputs, training=None, mask=None):  # Keras' signature; training makes no difference here
        return self._compute(tf.cast(inputs, self.compute_dtype))


def unet(*, layered: bool = False, levels: tuple[int, ...] = CHANNELS_OF_LEVELS) -> tf.keras.Model:
    """Build a U-Net from [batch, height, width, 9] normalised to the probability of cloud, [batch, height, width, 1].

    Args:
        layered: compute layer by layer, equal to the reference to the last bit, instead of by transposed convolutions
            (cloudmask.network.decoders). The network is saved as layers either way.
        levels: channels of each level, from the top down.
    """
    down = [(*_two_convolutions(channels), tf.keras.layers.MaxPool2D(2)) for channels in levels[:-1]]
    bottom = _two_convolutions(levels[-1])
    up = [_two_convolutions(channels) for channels in reversed(levels[:-1])]
    # float32 also in mixed precision: bfloat16 cannot represent a probability of 1 - 1e-4.
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

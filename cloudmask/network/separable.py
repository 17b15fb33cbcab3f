"""A U-Net of depthwise-separable convolutions: a 3 x 3 filter for each channel, then a 1 x 1 mixture of channels.

Max pooling down, nearest up-sampling and concatenation up, as the reference's. Source: Chollet, "Xception: Deep
Learning with Depthwise Separable Convolutions", CVPR 2017. One such pair a block where the reference has two full
convolutions, and the first block full, because nine channels are too few to filter alone.
"""

import tensorflow as tf

from cloudmask.network import blocks
from cloudmask.network.up_sampling import Savable, TwiceAsLarge

CHANNELS = (16, 32, 64, 128)
FACTOR = 8
# 1 + 2 + 4 going down, 8 at the bottom, 4 + 2 + 1 going up, and up to 7 of the pooling cell: 29, rounded up.
RECEPTIVE_FIELD = 32


def _filter_and_mix(x: tf.Tensor, channels: int) -> tf.Tensor:
    if x.shape[-1] == blocks.CHANNELS:
        return blocks.convolution(x, channels)
    x = tf.keras.layers.DepthwiseConv2D(3, padding="same", depthwise_initializer="he_normal")(x)
    return blocks.convolution(x, channels, 1)


def separable() -> tf.keras.Model:
    """As cloudmask.network.networks.Network.build says."""
    layers = tf.keras.layers
    x = inputs = blocks.inputs()
    skipped = []
    for channels in CHANNELS[:-1]:
        x = _filter_and_mix(x, channels)
        skipped.append(x)
        x = layers.MaxPool2D(2)(x)
    x = _filter_and_mix(x, CHANNELS[-1])
    for channels in reversed(CHANNELS[:-1]):
        x = layers.Concatenate()([TwiceAsLarge(2)(x), skipped.pop()])
        x = _filter_and_mix(x, channels)
    return Savable(inputs, blocks.probability(x), name="cloudmask_separable")

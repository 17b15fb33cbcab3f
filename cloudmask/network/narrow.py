"""The reference's U-Net with three eighths of its channels at each level: a seventh of the work, the same view."""

import tensorflow as tf

from cloudmask.network import blocks

CHANNELS = (12, 24, 48, 96)


def _two_convolutions(x: tf.Tensor, channels: int) -> tf.Tensor:
    return blocks.convolution(blocks.convolution(x, channels), channels)


def narrow(*, xla: bool = False) -> tf.keras.Model:
    """As cloudmask.network.networks.Network.build says."""
    x = inputs = blocks.inputs()
    x = blocks.encoder_decoder(x, _two_convolutions, CHANNELS)
    return tf.keras.Model(inputs, blocks.probability(x), name="cloudmask_narrow")

"""A network for each pixel by itself, with two pixels of context on each side: two 3 x 3 convolutions, then 1 x 1 ones.

Small networks of this kind, trained against lidar, screen clouds pixel by pixel where there is no image to see, as
over the poles and by night.
"""

import tensorflow as tf

from cloudmask.network import blocks

CHANNELS = 24
FACTOR = 1
RECEPTIVE_FIELD = 2


def pixel() -> tf.keras.Model:
    """As cloudmask.network.networks.Network.build says."""
    x = inputs = blocks.inputs()
    for size in (3, 3, 1, 1):
        x = blocks.convolution(x, CHANNELS, size)
    return tf.keras.Model(inputs, blocks.probability(x), name="cloudmask_pixel")

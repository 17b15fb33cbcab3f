"""A network that classifies each pixel from the two pixels around it: two 3 x 3 convolutions, then two of 1 x 1.

Small networks of this kind, trained against lidar, screen clouds pixel by pixel where the surroundings say little, as
over the poles and at night.
"""

import tensorflow as tf

from cloudmask.network import blocks

CHANNELS = 24
FACTOR = 1
RECEPTIVE_FIELD = 2


def pixel() -> tf.keras.Model:
    """Build the network, as described at cloudmask.network.networks.Network.build."""
    x = inputs = blocks.inputs()
    for size in (3, 3, 1, 1):
        x = blocks.convolution(x, CHANNELS, size)
    return tf.keras.Model(inputs, blocks.probability(x), name="cloudmask_pixel")

"""The U-Net of the CloudMask reference program: 39 layers as Keras counts them, 1,948,609 parameters.

Two 3 x 3 convolutions with ReLU a level, at 32, 64, 128 and 256 channels; max pooling down, nearest up-sampling and
concatenation up; one sigmoid output, the probability of cloud. Architecture after Ronneberger et al.,
arXiv:1505.04597, in MLCommons Science's variant. Kernels are drawn from he_normal.
"""

import tensorflow as tf

from cloudmask.data.scenes import CHANNELS
from common.distributed import devices

FACTOR = 8  # three poolings: height and width must be multiples of this
# Pixels that an output pixel may see on each side: the convolutions reach 2 * (1 + 2 + 4) going down, 2 * 8 at the
# bottom and 2 * (4 + 2 + 1) going up, and the pooling cell adds up to 7; 51, rounded up to the pooling grid.
RECEPTIVE_FIELD = 56


@tf.custom_gradient
def twice_as_large(x: tf.Tensor):
    """Every pixel of [batch, height, width, channels] four times: nearest up-sampling by 2.

    TensorFlow's own operation for it has a gradient that XLA does not know and that is not deterministic on GPUs. The
    gradient is a sum over 2 x 2 pixels: pooling, which is exact (a factor of 4) and 100 times as fast as reduce_sum.
    """
    # Numbers where the shape is known, as Keras has it: TensorFlow chooses its convolutions by known shapes.
    batch, height, width, channels = (
        size if number is None else number for size, number in zip(tf.unstack(tf.shape(x)), x.shape)
    )
    copies = tf.broadcast_to(x[:, :, None, :, None, :], [batch, height, 2, width, 2, channels])

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return 4 * tf.nn.avg_pool2d(upstream, 2, 2, "VALID")

    return tf.reshape(copies, [batch, 2 * height, 2 * width, channels]), gradient


def _up_sampling(xla: bool) -> tf.keras.layers.Layer:
    """Keras' layer by its name and in saved files, which need nothing of this file to be loaded; with XLA and on GPUs
    it computes differently. On CPUs Keras' own form stays: there the other one was no faster, and the whole network's
    gradients came out in another rounding, 5e-7 apart."""
    layer = tf.keras.layers.UpSampling2D(2)
    if xla or devices.on_gpu():
        layer.call = twice_as_large
    return layer


def unet(*, xla: bool = False) -> tf.keras.Model:
    """[batch, height, width, 9] float32, normalised, to [batch, height, width, 1] float32, probability of cloud.

    xla: training is to be compiled with XLA.
    """
    layers = tf.keras.layers

    def two_convolutions(x, channels):
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", kernel_initializer="he_normal")(x)
            x = layers.ReLU()(x)
        return x

    inputs = x = layers.Input((None, None, CHANNELS))
    skipped = []
    for channels in (32, 64, 128):
        x = two_convolutions(x, channels)
        skipped.append(x)
        x = layers.MaxPool2D(2)(x)
    x = two_convolutions(x, 256)
    for channels in (128, 64, 32):
        x = _up_sampling(xla)(x)
        x = layers.Concatenate()([x, skipped.pop()])
        x = two_convolutions(x, channels)
    # float32 also in mixed precision: a probability of 1 - 1e-4 does not exist in bfloat16.
    x = layers.Conv2D(1, 1, activation="sigmoid", padding="same", kernel_initializer="he_normal", dtype="float32")(x)
    return tf.keras.Model(inputs, x, name="cloudmask_unet")

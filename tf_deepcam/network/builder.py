"""Layers with the reference program's names and initialisation (tests/golden/deepcam_init.json).

The reference initialises the features (Xception, and the pyramid's branches) itself; all else is PyTorch's default. The
fan-in of a depthwise kernel is 9, the values that one output is made of; that of a transposed one is 9 x its output
channels.
"""

from functools import partial

import tensorflow as tf

from tf_deepcam.network.kernels import Kernels
from tf_deepcam.network.layers import Convolution, Deconvolution, DepthwiseConv2D
from tf_deepcam.network.normalization import BatchNormalization, GroupBatchNormalization


def kaiming_normal(fan_in: int) -> tf.keras.initializers.Initializer:
    """The reference's own initialisation: PyTorch's kaiming_normal_, a normal distribution that is not truncated."""
    return tf.keras.initializers.RandomNormal(stddev=(2.0 / fan_in) ** 0.5)


def torch_uniform(fan_in: int) -> tf.keras.initializers.Initializer:
    """PyTorch's default for kernels and biases of convolutions."""
    bound = fan_in**-0.5
    return tf.keras.initializers.RandomUniform(-bound, bound)


class Builder:
    """Adds layers to a Keras tensor x, [batch, height, width, channels].

    Args:
        width: factor on channel numbers (`wide`).
        batchnorm_group_size: number of ranks over which batch statistics are taken.
        kernels: the implementation that the layers use.
    """

    def __init__(self, width: float, batchnorm_group_size: int, kernels: Kernels):
        self._width, self._kernels = width, kernels
        self._norm = (
            GroupBatchNormalization if batchnorm_group_size > 1 else partial(BatchNormalization, kernels=kernels)
        )

    def wide(self, channels: int) -> int:
        """Return the multiple of 8 nearest to `width` times these channels, at least 8."""
        return max(8, round(channels * self._width / 8) * 8)

    def pointwise(self, x, name: str, channels: int, stride: int = 1, draw=kaiming_normal):
        """Add a 1 x 1 convolution without bias. draw: from a kernel's fan-in to its initialiser, here and below."""
        kernel = draw(x.shape[-1])
        return self._kernels.pointwise(
            x, stride, filters=channels, use_bias=False, kernel_initializer=kernel, name=name
        )

    def biased(self, x, name: str, channels: int):
        """Add a 1 x 1 convolution with bias."""
        fan_in = x.shape[-1]
        return self._kernels.pointwise(
            x,
            1,
            filters=channels,
            kernel_initializer=torch_uniform(fan_in),
            bias_initializer=torch_uniform(fan_in),
            name=name,
        )

    def convolution(self, x, name: str, channels: int, rate: int = 1, draw=kaiming_normal):
        """Add a 3 x 3 convolution without bias that keeps height and width."""
        kernel = draw(9 * x.shape[-1])
        return Convolution(channels, rate, kernels=self._kernels, kernel_initializer=kernel, name=name)(x)

    def halving_convolution(self, x, name: str, channels: int):
        """Add a 3 x 3 convolution of stride 2 without bias, padded by one pixel of zeros on every side."""
        kernel = kaiming_normal(9 * x.shape[-1])
        x = tf.keras.layers.ZeroPadding2D(1)(x)
        return tf.keras.layers.Conv2D(channels, 3, 2, use_bias=False, kernel_initializer=kernel, name=name)(x)

    def separable(self, x, name: str, channels: int, stride: int = 1, rate: int = 1):
        """Add a 3 x 3 convolution of each channel, then a 1 x 1 convolution over all."""
        x = DepthwiseConv2D(
            3,
            stride,
            padding="same",
            dilation_rate=rate,
            use_bias=False,
            depthwise_initializer=kaiming_normal(9),
            kernels=self._kernels,
            name=f"{name}.conv1",
        )(x)
        return self.pointwise(x, f"{name}.pointwise", channels)

    def deconvolution(self, x, name: str, channels: int, dtype=None):
        """Add a transposed 3 x 3 convolution to twice the height and width."""
        kernel = torch_uniform(9 * channels)
        return Deconvolution(channels, kernels=self._kernels, kernel_initializer=kernel, name=name, dtype=dtype)(x)

    def norm(self, x, name: str):
        """Add a batch norm; PyTorch's momentum 0.1 is Keras' 0.9."""
        return self._norm(momentum=0.9, epsilon=1e-5, name=f"{name}.bn")(x)

    def relu(self, x):
        """Add a ReLU."""
        return tf.keras.layers.ReLU()(x)

    def normed_relu(self, x, name: str):
        """Add a batch norm and a ReLU."""
        return self.relu(self.norm(x, name))

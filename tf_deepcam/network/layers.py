"""The network's layers, which compute by the kernels that they were built with (tf_deepcam.network.kernels).

A layer's settings name its kernels, so that a copy of the layer computes in the same way; settings of older files
name none and take the kernels for the device. Class names that repeat Keras' own, or that are registered under another
name, are those of saved files (tests/tf_deepcam/network/test_saved_files.py).
"""

from typing import Union

import tensorflow as tf

from tf_deepcam.network import kernels as forms
from tf_deepcam.network.kernels import Kernels


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class Convolution(tf.keras.layers.Conv2D):
    """A 3 x 3 convolution of stride 1 with as many rows and columns as its input."""

    def __init__(self, filters: int, rate: int = 1, *, kernels: Union[Kernels, str, None] = None, **options):
        # Keras saves these options too; all of them are fixed.
        options.update(kernel_size=3, strides=1, padding="same", use_bias=False, dilation_rate=rate)
        super().__init__(filters, **options)
        self.rate, self.kernels = rate, forms.chosen(kernels)

    def call(self, inputs):
        return self.kernels.convolution(inputs, self.kernel, self.rate)

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "kernels": self.kernels.name}


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class DepthwiseConv2D(tf.keras.layers.DepthwiseConv2D):
    """A 3 x 3 convolution of each channel, without bias and with padding "same".

    With stride 2, for even heights and widths, the padding is one pixel of zeros on every side. The class is named like
    Keras' own because .keras files name a layer's arrays by its class.
    """

    def __init__(self, *sizes, kernels: Union[Kernels, str, None] = None, **options):
        super().__init__(*sizes, **options)
        self.kernels = forms.chosen(kernels)

    def call(self, inputs):
        if self.strides == (1, 1):
            return super().call(inputs)
        return self.kernels.halving_depthwise(inputs, self.depthwise_kernel)

    def get_config(self) -> dict:
        return {**super().get_config(), "kernels": self.kernels.name}


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class Deconvolution(tf.keras.layers.Conv2DTranspose):
    """A transposed 3 x 3 convolution of stride 2 to twice the height and width.

    It equals PyTorch's ConvTranspose2d with padding 1 and output padding 1: input row i contributes to output row o
    through kernel row o - 2 i + 1. This is TensorFlow's result without padding, minus its first row and column.
    """

    def __init__(self, filters: int, *, kernels: Union[Kernels, str, None] = None, **options):
        options.update(kernel_size=3, strides=2, padding="valid", use_bias=False)
        super().__init__(filters, **options)
        self.kernels = forms.chosen(kernels)

    def call(self, inputs):
        return self.kernels.deconvolution(inputs, self.kernel)

    def get_config(self) -> dict:
        return {**super().get_config(), "kernels": self.kernels.name}


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class Affine(tf.keras.layers.Layer):
    """A trainable scale and shift of each channel, in place of batch norm where there is only one pixel."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="weights", shape=(input_shape[-1],), initializer="ones")
        self.shift = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs):
        return inputs * tf.cast(self.scale, inputs.dtype) + tf.cast(self.shift, inputs.dtype)


@tf.keras.utils.register_keras_serializable("tf_deepcam", name="_Tile")
class Tile(tf.keras.layers.Layer):
    """Takes [pixel, like] and repeats one pixel's features at every pixel of `like`."""

    def call(self, inputs):
        pixel, like = inputs
        shape = tf.shape(like)
        return tf.broadcast_to(pixel, [shape[0], shape[1], shape[2], pixel.shape[-1]])

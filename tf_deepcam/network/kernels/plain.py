"""TensorFlow's own operations, as GPUs compute them best. Shapes as in tf_deepcam.network.kernels.Kernels."""

import tensorflow as tf

AROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]  # one row or column of zeros on every side of an image


def convolution(inputs: tf.Tensor, kernel: tf.Tensor, rate: int) -> tf.Tensor:
    return tf.nn.conv2d(inputs, kernel, 1, "SAME", dilations=rate)


def halving_depthwise(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.depthwise_conv2d(tf.pad(inputs, AROUND), kernel, [1, 2, 2, 1], "VALID")


def deconvolution(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    batch, height, width = tf.unstack(tf.shape(inputs)[:3])
    shape, padding = (batch, 2 * height, 2 * width, kernel.shape[2]), [[0, 0], [1, 0], [1, 0], [0, 0]]
    return tf.nn.conv2d_transpose(inputs, kernel, shape, 2, padding)


def batch_norm(*_, **__) -> None:
    """Keras' own layer has TensorFlow's own operation."""
    return None


def pointwise(x: tf.Tensor, stride: int, **options) -> tf.Tensor:
    return tf.keras.layers.Conv2D(kernel_size=1, strides=stride, padding="same", **options)(x)

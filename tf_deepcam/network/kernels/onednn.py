"""The same functions in the forms that TensorFlow computes fastest on CPUs, with oneDNN.

Measured on the benchmark's full-size sample (`python -m tests.bench deepcam`, 2 cores of an AMD EPYC). Gradients of
their own are for training, where the batch is known beforehand; without it, as in inference, the plain forms are taken.
Shapes as in tf_deepcam.network.kernels.Kernels.
"""

from typing import Callable, Optional

import tensorflow as tf

from tf_deepcam.network.kernels import plain

_FEW_FILTERS = 16  # a deconvolution of fewer, as the last one to the classes, keeps the plain gradient
_QUICK = 16  # oneDNN's own bfloat16 batch norm takes multiples of so many channels


def convolution(inputs: tf.Tensor, kernel: tf.Tensor, rate: int) -> tf.Tensor:
    if inputs.shape[0] is None:
        return plain.convolution(inputs, kernel, rate)
    return _with_product_gradient(rate)(inputs, tf.convert_to_tensor(kernel))


def halving_depthwise(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    if inputs.shape[0] is None or inputs.dtype == tf.float32:
        return plain.halving_depthwise(inputs, kernel)
    return halving_depthwise_apart(inputs, tf.convert_to_tensor(kernel))


def deconvolution(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    if inputs.shape[0] is None or kernel.shape[2] < _FEW_FILTERS:
        return _deconvolution_forward(inputs, kernel)
    return _deconvolution(inputs, tf.convert_to_tensor(kernel))


def pointwise(x: tf.Tensor, stride: int, **options) -> tf.Tensor:
    """Averages of one pixel, then a convolution of stride 1.

    The gradient of a 1 x 1 convolution of a larger stride on a CPU (TensorFlow 2.15.1 with oneDNN, batch 1, few
    channels) writes outside its memory: a test in tests/tf_deepcam/network/. The averages take a tenth of the time of
    x[:, ::stride, ::stride], both ways.
    """
    if stride > 1:
        x = tf.keras.layers.AveragePooling2D(1, stride)(x)
    return plain.pointwise(x, 1, **options)


def batch_norm(
    inputs: tf.Tensor, parameters: tuple, *, epsilon: float, momentum: float, training: bool
) -> Optional[tuple]:
    """In half precision, with channels filled up with zeros to a multiple of 16.

    With 728 channels oneDNN's bfloat16 batch norm takes seven times as long as its float32 one, both ways together;
    filled up, the middle blocks' training step is 1.11 times as fast as with float32 ones and casts around them, and
    gives the same bits, since both compute in float32 and round at the end (2 cores of an AMD EPYC).
    """
    missing = -inputs.shape[-1] % _QUICK
    if not missing or inputs.dtype == tf.float32:
        return None

    def filled(values: tf.Tensor, filling: float = 0.0) -> tf.Tensor:
        return tf.pad(values, [[0, 0]] * (values.shape.rank - 1) + [[0, missing]], constant_values=filling)

    scale, offset, mean, variance = parameters
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=filled(inputs),
        scale=filled(scale),
        offset=filled(offset),
        mean=filled(mean),
        variance=filled(variance, 1.0),
        epsilon=epsilon,
        exponential_avg_factor=1.0 - momentum if training else 1.0,
        is_training=training,
    )
    return tf.slice(outputs, [0] * 4, tf.shape(inputs)), mean[:-missing], variance[:-missing]


def kernel_gradient(inputs: tf.Tensor, gradient: tf.Tensor, rate: int) -> tf.Tensor:
    """Gradient of a 3 x 3 convolution of stride 1 and this dilation rate for its kernel, as nine matrix products.

    inputs: [batch, height, width, channels]; gradient, of the outputs: [batch, height, width, filters]; the batch is
    known beforehand. With `rate` columns of zeros behind each row, shifting an image by (rows, columns) is an offset
    into its list of pixels, so the products need no copies but the padded ones. oneDNN's own routine reaches 20 to
    50 % of a matrix product's rate in bfloat16, and does not leave out rows that lie outside.
    """
    channels, filters = inputs.shape[-1], gradient.shape[-1]
    height, width = _height_and_width(inputs)
    width += rate
    # A row above and below, so that every offset is inside.
    pixels = _pixels(inputs, [[0, 0], [1, 1], [0, rate], [0, 0]])
    slopes = _pixels(gradient, [[0, 0], [0, 0], [0, rate], [0, 0]])
    taps = []
    for down in (-rate, 0, rate):
        first, rows = max(0, -down), height - abs(down)
        # No row where the rate is larger than the image.
        rows = max(rows, 0) if isinstance(rows, int) else tf.maximum(rows, 0)
        for right in (-rate, 0, rate):
            start = (1 + first + down) * width + right
            taps.append(_sum_of_products(pixels, start, slopes, first * width, rows * width))
    return tf.reshape(tf.stack(taps), (3, 3, channels, filters))


def deconvolution_kernel_gradient(inputs: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Gradient of a deconvolution for its kernel, [3, 3, filters, channels], in the same way.

    inputs: [batch, height, width, channels]; gradient: [batch, 2 height, 2 width, filters]. Kernel rows 0 and 2 meet
    the odd output rows (of the input row before, and of the same), kernel row 1 the even ones; columns likewise.
    """
    batch, channels, filters = inputs.shape[0], inputs.shape[-1], gradient.shape[-1]
    height, width = _height_and_width(inputs)
    pixels = _pixels(inputs, [[0, 0], [0, 0], [1, 0], [0, 0]])
    by_parity = tf.reshape(gradient, (batch, height, 2, width, 2 * filters))
    slopes = {}
    for odd_row in (0, 1):
        for odd_column in (0, 1):
            begin = (0, 0, odd_row, 0, odd_column * filters)
            part = tf.slice(by_parity, begin, (batch, height, 1, width, filters))[:, :, 0]
            slopes[odd_row, odd_column] = _pixels(part, [[0, 0], [2, 0], [1, 0], [0, 0]])
    taps = []
    for row in range(3):
        for column in range(3):
            start = (1 if row == 0 else 2) * (width + 1) - (1 if column == 0 else 0)
            part = slopes[row != 1, column != 1]
            taps.append(_sum_of_products(part, start, pixels, 0, height * (width + 1)))
    return tf.reshape(tf.stack(taps), (3, 3, filters, channels))


def _height_and_width(images: tf.Tensor) -> tuple:
    """As numbers where they are known beforehand, as in a training: the graph is then built sooner."""
    known, shape = images.shape, tf.shape(images)
    return tuple(shape[axis] if known[axis] is None else known[axis] for axis in (1, 2))


def _pixels(images: tf.Tensor, paddings: list) -> list:
    """Each padded image as a list of pixels, [height x width, channels]."""
    images = tf.pad(images, paddings)
    return [tf.reshape(images[sample], (-1, images.shape[-1])) for sample in range(images.shape[0])]


def _sum_of_products(left: list, left_start, right: list, right_start, count) -> tf.Tensor:
    """Over samples, the sum of the products of `count` pixels' channels, [left's channels, right's channels]."""
    products = [
        tf.matmul(a[left_start : left_start + count], b[right_start : right_start + count], transpose_a=True)
        for a, b in zip(left, right)
    ]
    return tf.add_n(products) if len(products) > 1 else products[0]


def _with_product_gradient(rate: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    @tf.custom_gradient
    def function(inputs, kernel):
        outputs = plain.convolution(inputs, kernel, rate)

        def gradients(slopes):
            for_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=slopes,
                strides=[1] * 4,
                padding="SAME",
                dilations=[1, rate, rate, 1],
            )
            return for_inputs, kernel_gradient(inputs, slopes, rate)

        return outputs, gradients

    return function


@tf.custom_gradient
def _deconvolution(inputs, kernel):
    outputs = _deconvolution_forward(inputs, kernel)

    def gradients(slopes):
        # The first row and column, which the padding cuts off, have no gradient.
        padded = tf.pad(slopes, [[0, 0], [1, 0], [1, 0], [0, 0]])
        for_inputs = tf.nn.conv2d(padded, kernel, 2, "VALID")
        return for_inputs, deconvolution_kernel_gradient(inputs, slopes)

    return outputs, gradients


def _deconvolution_forward(inputs, kernel):
    if inputs.dtype == tf.float32:
        return plain.deconvolution(inputs, kernel)
    # oneDNN has no quick bfloat16 routine for uneven padding (8.8 s where this takes 0.17), so the row is cut off.
    # By tf.slice, whose gradient is a padding; that of x[:, 1:, 1:] takes several times longer.
    batch, height, width = tf.unstack(tf.shape(inputs)[:3])
    shape = (batch, 2 * height + 1, 2 * width + 1, kernel.shape[2])
    outputs = tf.nn.conv2d_transpose(inputs, kernel, shape, 2, "VALID")
    return tf.slice(outputs, (0, 1, 1, 0), (batch, 2 * height, 2 * width, kernel.shape[2]))


@tf.custom_gradient
def halving_depthwise_apart(inputs, kernel):
    outputs = plain.halving_depthwise(inputs, kernel)

    def gradients(slopes):
        # oneDNN's bfloat16 routine takes 7 to 19 times as long as a depthwise convolution of the slopes with zeros
        # between them (302 against 16 ms for 384 x 576 x 128).
        rows, columns = _height_and_width(slopes)
        apart = tf.reshape(slopes, (-1, 1, columns, 1, slopes.shape[-1]))
        apart = tf.pad(apart, [[0, 0], [0, 1], [0, 0], [0, 1], [0, 0]])
        apart = tf.reshape(apart, (slopes.shape[0], 2 * rows, 2 * columns, slopes.shape[-1]))
        for_inputs = tf.nn.depthwise_conv2d(apart, kernel[::-1, ::-1], [1] * 4, "SAME")
        for_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=tf.pad(inputs, plain.AROUND),
            filter_sizes=tf.shape(kernel),
            out_backprop=slopes,
            strides=[1, 2, 2, 1],
            padding="VALID",
        )
        return for_inputs, for_kernel

    return outputs, gradients

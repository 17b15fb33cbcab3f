"""The network's three convolutions of 3 x 3, in the forms that TensorFlow computes fastest on CPUs; the same functions.

Measured on the benchmark's full-size sample (`python -m tests.bench deepcam`, 2 cores of an AMD EPYC, oneDNN). GPUs
take TensorFlow's own form of everything.
"""

import tensorflow as tf

from common.distributed import devices

_AROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]  # one row or column of zeros on every side of an image


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
    """Gradient of `Deconvolution` for its kernel, [3, 3, filters, channels], in the same way.

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


def _convolution(rate: int):
    @tf.custom_gradient
    def function(inputs, kernel):
        outputs = tf.nn.conv2d(inputs, kernel, 1, "SAME", dilations=rate)

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
    outputs = _plain_deconvolution(inputs, kernel)

    def gradients(slopes):
        # The first row and column, which the padding cuts off, have no gradient.
        padded = tf.pad(slopes, [[0, 0], [1, 0], [1, 0], [0, 0]])
        for_inputs = tf.nn.conv2d(padded, kernel, 2, "VALID")
        return for_inputs, deconvolution_kernel_gradient(inputs, slopes)

    return outputs, gradients


def _plain_deconvolution(inputs, kernel):
    batch, height, width = tf.unstack(tf.shape(inputs)[:3])
    filters = kernel.shape[2]
    if inputs.dtype == tf.float32 or devices.on_gpu():
        whole, padding = (batch, 2 * height, 2 * width, filters), [[0, 0], [1, 0], [1, 0], [0, 0]]
        return tf.nn.conv2d_transpose(inputs, kernel, whole, 2, padding)
    # oneDNN has no quick bfloat16 routine for uneven padding (8.8 s where this takes 0.17), so the row is cut off.
    # By tf.slice, whose gradient is a padding; that of x[:, 1:, 1:] takes several times longer.
    outputs = tf.nn.conv2d_transpose(inputs, kernel, (batch, 2 * height + 1, 2 * width + 1, filters), 2, "VALID")
    return tf.slice(outputs, (0, 1, 1, 0), (batch, 2 * height, 2 * width, filters))


@tf.custom_gradient
def _halving_depthwise(inputs, kernel):
    outputs = _plain_halving_depthwise(inputs, kernel)

    def gradients(slopes):
        # oneDNN's bfloat16 routine takes 7 to 19 times as long as a depthwise convolution of the slopes with zeros
        # between them (302 against 16 ms for 384 x 576 x 128).
        rows, columns = _height_and_width(slopes)
        apart = tf.reshape(slopes, (-1, 1, columns, 1, slopes.shape[-1]))
        apart = tf.pad(apart, [[0, 0], [0, 1], [0, 0], [0, 1], [0, 0]])
        apart = tf.reshape(apart, (slopes.shape[0], 2 * rows, 2 * columns, slopes.shape[-1]))
        for_inputs = tf.nn.depthwise_conv2d(apart, kernel[::-1, ::-1], [1] * 4, "SAME")
        for_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=tf.pad(inputs, _AROUND),
            filter_sizes=tf.shape(kernel),
            out_backprop=slopes,
            strides=[1, 2, 2, 1],
            padding="VALID",
        )
        return for_inputs, for_kernel

    return outputs, gradients


def _plain_halving_depthwise(inputs, kernel):
    return tf.nn.depthwise_conv2d(tf.pad(inputs, _AROUND), kernel, [1, 2, 2, 1], "VALID")


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class Convolution(tf.keras.layers.Conv2D):
    """A 3 x 3 convolution of stride 1 with as many rows and columns as its input."""

    def __init__(self, filters: int, rate: int = 1, **options):
        # The options are also what Keras saves; none of them is a choice.
        options.update(kernel_size=3, strides=1, padding="same", use_bias=False, dilation_rate=rate)
        super().__init__(filters, **options)
        self.rate = rate

    def call(self, inputs):
        if inputs.shape[0] is None or devices.on_gpu():
            return tf.nn.conv2d(inputs, self.kernel, 1, "SAME", dilations=self.rate)
        return _convolution(self.rate)(inputs, tf.convert_to_tensor(self.kernel))

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate}


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class DepthwiseConv2D(tf.keras.layers.DepthwiseConv2D):
    """A 3 x 3 convolution of each channel, without bias and with padding "same". Of stride 2, for even heights and
    widths, that is one pixel of zeros on every side.

    It has the name of Keras' own because .keras files name a layer's arrays by its class.
    """

    def call(self, inputs):
        if self.strides == (1, 1):
            return super().call(inputs)
        if inputs.shape[0] is None or inputs.dtype == tf.float32 or devices.on_gpu():
            return _plain_halving_depthwise(inputs, self.depthwise_kernel)
        return _halving_depthwise(inputs, tf.convert_to_tensor(self.depthwise_kernel))


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class Deconvolution(tf.keras.layers.Conv2DTranspose):
    """A transposed 3 x 3 convolution of stride 2 to twice the height and width.

    That is PyTorch's ConvTranspose2d with padding 1 and output padding 1: output row o is fed by input row i through
    kernel row o - 2 i + 1, TensorFlow's result without padding less its first row and column.
    """

    def __init__(self, filters: int, **options):
        options.update(kernel_size=3, strides=2, padding="valid", use_bias=False)
        super().__init__(filters, **options)

    def call(self, inputs):
        if inputs.shape[0] is None or self.filters < 16 or devices.on_gpu():
            return _plain_deconvolution(inputs, self.kernel)
        return _deconvolution(inputs, tf.convert_to_tensor(self.kernel))

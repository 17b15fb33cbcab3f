"""The network's own forms of convolutions against TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf

from tf_deepcam.network import layers
from tf_deepcam.network.kernels import ONEDNN, PLAIN, onednn, plain


def draw(shape: tuple, seed: int) -> tf.Tensor:
    return tf.random.stateless_normal(shape, (seed, 0))


def assert_same_gradients(own, plain, inputs: tf.Tensor, kernel, slopes: tf.Tensor) -> None:
    """Outputs and gradients of the two functions of `inputs`, which use the same kernel, agree to rounding."""
    results = []
    for function in (own, plain):
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            outputs = function(inputs)
        results.append((outputs, *tape.gradient(outputs, [inputs, kernel], slopes)))
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, atol=2e-6 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("batch", "height", "width", "rate"), [(1, 7, 9, 1), (3, 12, 10, 6), (2, 24, 40, 18), (1, 4, 6, 18), (1, 5, 30, 6)]
)
def test_gradients_are_those_of_the_plain_convolution(batch, height, width, rate):
    inputs, kernel = draw((batch, height, width, 5), 1), draw((3, 3, 5, 4), 2)
    slopes = draw((batch, height, width, 4), 3)
    layer = layers.Convolution(4, rate, kernels=ONEDNN)
    layer.build(inputs.shape)
    layer.kernel.assign(kernel)
    assert_same_gradients(
        layer, lambda x: tf.nn.conv2d(x, layer.kernel, 1, "SAME", dilations=rate), inputs, layer.kernel, slopes
    )


@pytest.mark.parametrize("rate", [1, 18])
def test_gradients_are_the_same_where_height_and_width_are_not_known_beforehand(rate):
    inputs, slopes = draw((2, 12, 24, 5), 1), draw((2, 12, 24, 4), 2)
    known = onednn.kernel_gradient(inputs, slopes, rate)
    unknown = [tf.TensorSpec((2, None, None, channels)) for channels in (5, 4)]
    function = tf.function(lambda x, y: onednn.kernel_gradient(x, y, rate), input_signature=unknown)
    np.testing.assert_array_equal(function(inputs, slopes), known)
    inputs, slopes = draw((2, 5, 6, 4), 1), draw((2, 10, 12, 16), 2)
    unknown = [tf.TensorSpec((2, None, None, channels)) for channels in (4, 16)]
    function = tf.function(onednn.deconvolution_kernel_gradient, input_signature=unknown)
    np.testing.assert_array_equal(function(inputs, slopes), onednn.deconvolution_kernel_gradient(inputs, slopes))


@pytest.mark.parametrize("kernels", [ONEDNN, PLAIN])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)])
def test_a_deconvolution_is_the_definition_s_double_loop(dtype, tolerance, kernels):
    inputs = np.asarray(draw((1, 3, 4, 2), 1))
    layer = layers.Deconvolution(3, kernels=kernels, dtype=dtype)
    outputs = layer(inputs)
    kernel = layer.kernel.numpy()  # [3, 3, out, in]
    expected = np.zeros((1, 8, 10, 3), np.float32)  # with the rows and columns that the padding cuts off
    for row in range(3):
        for column in range(4):
            expected[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += kernel @ inputs[0, row, column]
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected[:, 1:7, 1:9], atol=tolerance)


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_those_of_the_plain_deconvolution(batch):
    inputs, slopes = draw((batch, 5, 6, 4), 1), draw((batch, 10, 12, 16), 2)
    layer = layers.Deconvolution(16, kernels=ONEDNN)
    layer.build(inputs.shape)
    assert_same_gradients(layer, lambda x: plain.deconvolution(x, layer.kernel), inputs, layer.kernel, slopes)


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_those_of_the_plain_halving_depthwise_convolution(batch):
    inputs, kernel, slopes = draw((batch, 6, 10, 5), 1), draw((3, 3, 5, 1), 2), draw((batch, 3, 5, 5), 3)
    assert_same_gradients(
        lambda x: onednn.halving_depthwise_apart(x, kernel),
        lambda x: plain.halving_depthwise(x, kernel),
        inputs,
        kernel,
        slopes,
    )


@pytest.mark.parametrize("kernels", [ONEDNN, PLAIN])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("mixed_bfloat16", 0.02)])
def test_a_halving_depthwise_convolution_pads_one_pixel_on_every_side(dtype, tolerance, kernels):
    inputs, layer = (
        draw((1, 6, 4, 3), 1),
        layers.DepthwiseConv2D(3, 2, padding="same", use_bias=False, kernels=kernels, dtype=dtype),
    )
    plain = tf.keras.Sequential(
        [tf.keras.layers.ZeroPadding2D(1), tf.keras.layers.DepthwiseConv2D(3, 2, use_bias=False)]
    )
    layer.build(inputs.shape)
    plain.build(inputs.shape)
    plain.set_weights(layer.get_weights())
    results = []
    for function in (layer, plain):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.cast(function(inputs), tf.float32)
        results.append((outputs, *tape.gradient(outputs, [inputs, *function.trainable_variables])))
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, atol=tolerance * np.abs(theirs).max())

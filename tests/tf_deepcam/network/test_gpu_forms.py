"""The network of plain operations, as GPUs take it, and that of oneDNN's forms: one function, whose form stays chosen.

Traced, and run forward only: TensorFlow's gradient of a strided 1 x 1 convolution writes outside its memory on a CPU.
"""

from collections import Counter
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from common.distributed import devices
from common.keras.inference import folded
from tf_deepcam.network import deeplab
from tf_deepcam.network.builder import Builder
from tf_deepcam.network.kernels import ONEDNN, PLAIN, Kernels, for_this_device
from tf_deepcam.network.layers import Convolution, Deconvolution, DepthwiseConv2D
from tf_deepcam.network.normalization import BatchNormalization

SHAPE = (2, 32, 48, 16)


def build(kernels: Kernels) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(3)
    return deeplab.deeplab(width=0.1, middle_blocks=0, kernels=kernels)


def operations(network: tf.keras.layers.Layer, shape: tuple = SHAPE) -> Counter:
    """How many there are of each type in the forward and backward pass."""

    def gradients(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network(images, training=True) ** 2)
        return tape.gradient(loss, network.trainable_variables)

    graph = tf.function(gradients, autograph=False).get_concrete_function(tf.TensorSpec(shape)).graph
    return Counter(operation.type for operation in graph.get_operations())


@pytest.fixture(scope="module")
def built() -> tuple:
    """(network, its operations) as for a CPU and as for a GPU."""
    networks = [build(kernels) for kernels in (ONEDNN, PLAIN)]
    return tuple((network, operations(network)) for network in networks)


@pytest.mark.parametrize(("gpu", "kernels"), [(False, ONEDNN), (True, PLAIN)])
def test_the_device_chooses_where_nothing_else_does(monkeypatch, gpu, kernels):
    monkeypatch.setattr(devices, "on_gpu", lambda: gpu)
    assert for_this_device() is kernels
    network = deeplab.deeplab(width=0.05, middle_blocks=0)
    assert {layer.kernels for layer in network.layers if hasattr(layer, "kernels")} == {kernels}


def test_both_forms_are_one_function_of_the_same_arrays(built):
    (cpu, _), (gpu, _) = built
    assert [weight.shape for weight in gpu.weights] == [weight.shape for weight in cpu.weights]
    assert [layer.name for layer in gpu.layers if layer.weights] == [
        layer.name for layer in cpu.layers if layer.weights
    ]
    for ours, theirs in zip(gpu.get_weights(), cpu.get_weights()):
        np.testing.assert_array_equal(ours, theirs)  # drawn alike, so that a seed means the same on both
    images = tf.random.stateless_normal(SHAPE, (1, 0))
    ours, theirs = gpu(images), cpu(images)
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_on_a_gpu_every_convolution_is_the_plain_one(built):
    (_, cpu), (_, gpu) = built
    # On a CPU three blocks halve their shortcut by averages of one pixel, and kernel gradients are products, from 16
    # filters on.
    assert gpu["MatMul"] == 0 < cpu["MatMul"]
    assert gpu["AvgPoolGrad"] == 0 < cpu["AvgPoolGrad"]
    assert gpu["Conv2DBackpropFilter"] > cpu["Conv2DBackpropFilter"]


@pytest.mark.parametrize(("kernels", "products"), [(ONEDNN, 9), (PLAIN, 0)])
def test_a_layer_computes_by_its_own_kernels(kernels, products):
    layer = Deconvolution(16, kernels=kernels, dtype="mixed_float16")
    layer.build((1, 4, 6, 8))
    found = operations(layer, (1, 4, 6, 8))
    assert found["MatMul"] == products
    assert (found["Slice"] > 0) == (kernels is ONEDNN)  # a CPU cuts the padding off, a GPU never makes it


@pytest.mark.parametrize("kernels", [ONEDNN, PLAIN])
@pytest.mark.parametrize("make", [partial(Convolution, 8), partial(DepthwiseConv2D, 3), partial(Deconvolution, 8)])
def test_a_copy_of_a_layer_keeps_its_kernels(make, kernels):
    layer = make(kernels=kernels)
    settings = layer.get_config()
    assert settings["kernels"] == kernels.name
    assert type(layer).from_config(settings).kernels is kernels


@pytest.mark.parametrize("kernels", [ONEDNN, PLAIN])
def test_a_copy_of_the_network_keeps_its_kernels(kernels):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        network = deeplab.deeplab(width=0.05, middle_blocks=0, kernels=kernels)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for copy in (tf.keras.models.clone_model(network), folded(network)):
        layers = [layer for layer in copy.layers if hasattr(layer, "kernels")]
        assert {layer.kernels for layer in layers} == {kernels}
        assert any(isinstance(layer, BatchNormalization) for layer in layers)


def test_settings_of_a_file_that_names_no_kernels_take_those_for_the_device():
    settings = Convolution(8).get_config()
    del settings["kernels"]
    assert Convolution.from_config(settings).kernels is for_this_device()


@pytest.mark.parametrize("kernels", [ONEDNN, PLAIN])
def test_norms_compute_in_half_precision_whatever_their_channels(kernels):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        normed = Builder(1.0, 1, kernels).norm(tf.keras.layers.Input((4, 4, 24)), "n")
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert normed.dtype == "float16"

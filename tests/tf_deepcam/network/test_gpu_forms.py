"""The network as it is built where there is a GPU, which is only pretended here: the same function in plain operations.

Traced, and run forward only: TensorFlow's gradient of a strided 1 x 1 convolution writes outside its memory on a CPU.
"""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from common.distributed import devices
from tf_deepcam.network import convolutions, deeplab

SHAPE = (2, 32, 48, 16)


def pretend(monkeypatch, gpu: bool) -> None:
    monkeypatch.setattr(devices, "on_gpu", lambda: gpu)


def build() -> tf.keras.Model:
    tf.keras.utils.set_random_seed(3)
    return deeplab.deeplab(width=0.1, middle_blocks=0)


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
    with pytest.MonkeyPatch.context() as patch:
        result = []
        for gpu in (False, True):
            pretend(patch, gpu)
            network = build()
            result.append((network, operations(network)))
    return tuple(result)


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


@pytest.mark.parametrize(("gpu", "products"), [(False, 9), (True, 0)])
def test_a_layer_is_traced_for_what_runs_it_wherever_it_was_built(monkeypatch, gpu, products):
    layer = convolutions.Deconvolution(16, dtype="mixed_float16")
    layer.build((1, 4, 6, 8))
    pretend(monkeypatch, gpu)
    found = operations(layer, (1, 4, 6, 8))
    assert found["MatMul"] == products
    assert (found["Slice"] > 0) == (not gpu)  # a CPU cuts the padding off, a GPU never makes it


@pytest.mark.parametrize("gpu", [True, False])
def test_norms_compute_in_half_precision_whatever_their_channels(monkeypatch, gpu):
    pretend(monkeypatch, gpu)
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        normed = deeplab._Builder(1).norm(tf.keras.layers.Input((4, 4, 24)), "n")
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert normed.dtype == "float16"

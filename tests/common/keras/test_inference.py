"""Frozen networks against the networks they were made from."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from cloudmask.network.unet import unet
from common.keras.inference import folded, forward, frozen
from tf_deepcam.network import deeplab

layers = tf.keras.layers


def drawn(network: tf.keras.Model) -> tf.keras.Model:
    """With weights, statistics too, that are nowhere 0 or 1."""
    rng = np.random.default_rng(0)
    network.set_weights([rng.uniform(0.3, 1.0, weight.shape) / weight.shape[0] for weight in network.get_weights()])
    return network


def example() -> tf.keras.Model:
    """Batch norms that are folded, after convolutions with and without bias, and four that stay."""
    inputs = layers.Input((None, None, 2))
    x = layers.BatchNormalization(name="first")(inputs)
    x = layers.BatchNormalization(name="plain", epsilon=1e-2)(layers.Conv2D(4, 3)(x))
    x = layers.BatchNormalization(name="without_bias")(layers.Conv2D(3, 1, use_bias=False)(layers.ReLU()(x)))
    x = layers.BatchNormalization(name="transposed")(layers.Conv2DTranspose(5, 3, 2)(x))
    x = layers.Conv2D(5, 1, activation="sigmoid", name="bent")(x)
    x = shared = layers.Conv2D(5, 1)(layers.BatchNormalization(name="after_sigmoid")(x))
    x = layers.BatchNormalization(name="shared")(x)
    return drawn(tf.keras.Model(inputs, layers.Add()([x, shared])))


def test_what_can_be_folded_is_and_the_function_stays():
    network, image = example(), np.random.default_rng(1).normal(size=(2, 7, 9, 2)).astype(np.float32)
    expected, before = network(image).numpy(), network.get_weights()
    result = folded(network)
    kept = [layer.name for layer in result.layers if isinstance(layer, layers.BatchNormalization)]
    assert kept == ["first", "transposed", "after_sigmoid", "shared"]
    np.testing.assert_allclose(result(image), expected, rtol=1e-5)
    np.testing.assert_allclose(frozen(network)(image), expected, rtol=1e-5)
    for ours, theirs in zip(network.get_weights(), before):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.03)], ids=["float32", "bfloat16"]
)
@pytest.mark.parametrize("build", [unet, lambda: deeplab.deeplab(width=0.25, middle_blocks=2)], ids=["unet", "deeplab"])
def test_both_networks_frozen_are_themselves(request, build, precision, tolerance):
    request.addfinalizer(lambda: tf.keras.mixed_precision.set_global_policy("float32"))
    tf.keras.mixed_precision.set_global_policy(precision)
    tf.keras.utils.set_random_seed(0)
    network = build()
    image = np.random.default_rng(1).normal(size=(2, 32, 48, network.input_shape[-1])).astype(np.float32)
    expected = forward(network)(image).numpy()
    compiled = frozen(network)
    for part in (image, image[:1]):  # a last batch is smaller
        np.testing.assert_allclose(compiled(part), expected[: len(part)], atol=tolerance * np.abs(expected).max())
    halves = image.astype(np.float16)  # as samples may be kept
    np.testing.assert_array_equal(compiled(halves), compiled(halves.astype(np.float32)))
    network.set_weights([weight * 0 for weight in network.get_weights()])
    np.testing.assert_allclose(compiled(image), expected, atol=tolerance * np.abs(expected).max())


def test_nothing_is_read_from_variables():
    network = unet()
    operations = {
        node.type for node in inspect.getclosurevars(frozen(network)).nonlocals["constant"].graph.get_operations()
    }
    assert not {name for name in operations if "Variable" in name or "Handle" in name}

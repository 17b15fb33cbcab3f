"""Recomputed activations give the same gradients and the same moving statistics, on one rank and on two."""

import numpy as np
import pytest
import tensorflow as tf

from cloudmask.network.unet import unet
from common.training import recompute
from tf_deepcam.network.deeplab import deeplab


def small() -> tf.keras.Model:
    layers = tf.keras.layers
    inputs = x = layers.Input((None, None, 3))
    for _ in range(3):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x)))
        x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(4, 1)(x))])
    return tf.keras.Model(inputs, layers.Conv2D(1, 1)(x))


NETWORKS = {
    "small": (small, (2, 12, 10, 3)),
    "cloudmask": (lambda: unet(layered=True), (2, 16, 24, 9)),
    "deepcam": (lambda: deeplab(width=0.05, middle_blocks=2), (2, 32, 48, 16)),
}


def gradients(network, forward, x: np.ndarray, xla: bool) -> tuple:
    """Those of a sum of squares, the moving statistics afterwards, and the number of convolutions in the graph."""

    @tf.function(jit_compile=xla or None, autograph=False)
    def compiled(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(forward(x)))
        return tape.gradient(loss, network.trainable_variables)

    found = compiled.get_concrete_function(tf.TensorSpec(x.shape, tf.float32))
    convolutions = sum(operation.type == "Conv2D" for operation in found.graph.get_operations())
    values = [gradient.numpy() for gradient in compiled(tf.constant(x))]
    return values, [weight.numpy() for weight in network.non_trainable_variables], convolutions


@pytest.mark.parametrize(
    ("name", "precision", "xla"),
    [
        ("cloudmask", "float32", False),
        ("deepcam", "float32", False),
        ("deepcam", "mixed_bfloat16", False),
        ("small", "float32", True),  # XLA takes minutes for the others
    ],
)
def test_gradients_and_moving_statistics_are_the_same(name, precision, xla):
    build, shape = NETWORKS[name]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        tf.keras.utils.set_random_seed(1)
        network = build()
        start = network.get_weights()
        plain = gradients(network, lambda x: network(x, training=True), x, xla)
        network.set_weights(start)
        recomputed = gradients(network, recompute.training_pass(network), x, xla)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    largest = max(np.abs(value).max() for value in plain[0])
    tolerance = 1e-5 if precision == "float32" else 3e-2
    for ours, theirs in zip(recomputed[0], plain[0]):
        np.testing.assert_allclose(ours, theirs, atol=tolerance * largest)
    for ours, theirs in zip(recomputed[1], plain[1]):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert recomputed[2] > 1.4 * plain[2]


def test_each_block_is_a_segment_and_keeps_one_tensor():
    segments = recompute._segments(deeplab(width=0.05, middle_blocks=4))
    sums = [segment for segment in segments if isinstance(segment.layers[-1], tf.keras.layers.Add)]
    assert len(sums) == 3 + 4 + 1
    assert [len(segment.kept) for segment in sums[2:]] == [1] * 6

"""The network's batch norm against Keras' own, and statistics of a group of ranks, forward and backward."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers import errors, run
from tf_deepcam.network.kernels import ONEDNN, PLAIN, Kernels
from tf_deepcam.network.normalization import BatchNormalization, GroupBatchNormalization

PROGRAM = Path(__file__).with_name("batchnorm.py")


def result(folder: Path, ranks: int, group: int) -> dict:
    output = run(PROGRAM, group, folder / "out.npz", ranks=ranks)
    assert output.returncode == 0, output.stdout
    return dict(np.load(folder / "out.npz"))


def batch() -> np.ndarray:
    """What the ranks of batchnorm.py share."""
    values = np.random.default_rng(3).normal(2.0, 3.0, (8, 4, 5, 3)).astype(np.float32)
    values[4:] += 5.0
    return values


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    """One rank with all eight samples."""
    return result(tmp_path_factory.mktemp("alone"), 1, 1)


def test_a_group_of_all_ranks_is_one_rank_with_the_whole_batch(alone, tmp_path):
    two = result(tmp_path, 2, 2)
    np.testing.assert_allclose(two["result"], alone["result"], atol=1e-5)
    np.testing.assert_allclose(two["gradient"], alone["gradient"], atol=1e-4)
    np.testing.assert_allclose(two["means"], np.repeat(alone["means"], 2, 0), atol=1e-6)
    np.testing.assert_allclose(two["variances"], np.repeat(alone["variances"], 2, 0), rtol=1e-5)


@pytest.mark.parametrize("layer", [BatchNormalization, GroupBatchNormalization])
def test_the_running_variance_is_over_n_less_one_as_pytorch_s(layer):
    x = np.random.default_rng(0).normal(size=(4, 1, 1, 16)).astype(np.float32)
    norm = layer(momentum=0.9, epsilon=1e-5)
    outputs = norm(x, training=True)
    np.testing.assert_allclose(norm.moving_variance, 0.9 + 0.1 * x.var((0, 1, 2), ddof=1), rtol=1e-5)
    # What normalises the batch itself is over n, in PyTorch too.
    np.testing.assert_allclose(np.var(outputs, (0, 1, 2)), 1.0, rtol=0.02)


def test_the_running_variance_is_over_n_less_one_of_the_whole_group_s(alone):
    expected = 0.5 + 0.5 * batch().var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(alone["variances"], [expected], rtol=1e-5)


@pytest.mark.slow
def test_groups_of_two_of_four_ranks_keep_to_themselves(alone, tmp_path):
    four = result(tmp_path, 4, 2)
    values = batch()
    for group, place in enumerate((np.s_[:4], np.s_[4:])):
        half = values[place]
        variances = four["variances"][2 * group : 2 * group + 2]
        np.testing.assert_allclose(variances, [0.5 + 0.5 * half.var((0, 1, 2), ddof=1)] * 2, rtol=1e-5)
        expected = (half - half.mean((0, 1, 2))) / np.sqrt(half.var((0, 1, 2)) + 1e-5)
        np.testing.assert_allclose(four["result"][place], expected, atol=1e-4)
    assert np.abs(four["result"] - alone["result"]).max() > 0.1
    assert np.allclose(four["means"][0], four["means"][1])
    assert not np.allclose(four["means"][1], four["means"][2])


def test_a_group_size_that_does_not_divide_the_ranks_is_refused(tmp_path):
    output = run(PROGRAM, 3, tmp_path / "out.npz", ranks=2)
    assert output.returncode != 0
    assert "2 ranks cannot be divided into groups of 3" in errors(output.stdout)[0]


def with_weights(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """Scale, offset and moving statistics that are neither 0 nor 1, for 24 channels."""
    layer.build((None, None, None, 24))
    layer.set_weights([np.random.default_rng(number).uniform(0.5, 2.0, 24) for number in range(4)])
    return layer


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("policy", "last_bit"), [("mixed_bfloat16", 2**-7), ("mixed_float16", 2**-10)])
def test_with_channels_filled_up_it_is_keras_own_layer(policy, last_bit, training, trainable):
    options = {"momentum": 0.9, "epsilon": 1e-5}
    own = with_weights(BatchNormalization(kernels=ONEDNN, dtype=policy, **options))
    plain = with_weights(tf.keras.layers.BatchNormalization(**options))
    half = tf.as_dtype(own.compute_dtype)
    inputs = tf.cast(tf.random.stateless_normal((2, 6, 5, 24), (1, 0), 2.0, 3.0), half)
    slopes = tf.cast(tf.random.stateless_normal((2, 6, 5, 24), (2, 0)), half)
    results = []
    for layer in (own, plain):
        variables = [layer.gamma, layer.beta]
        layer.trainable = trainable
        with tf.GradientTape() as tape:
            x = tf.cast(inputs, layer.compute_dtype)
            tape.watch([x, *variables])
            outputs = layer(x, training=training)
        gradients = tape.gradient(outputs, [x, *variables], tf.cast(slopes, outputs.dtype))
        images = [tf.cast(value, half) for value in (outputs, gradients[0])]
        results.append([tf.cast(value, tf.float32) for value in (*images, *gradients[1:])])
    for ours, theirs, tolerance in zip(*results, (last_bit, last_bit, 1e-6, 1e-6)):
        # Both compute in float32 and round at the end: equal, but where a sum's order tips the last bit.
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=1e-6 * np.abs(theirs).max())
    for ours, theirs in zip(own.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_channels_are_filled_up_only_by_onednn_in_half_precision():
    def paddings(policy: str, channels: int, kernels: Kernels) -> int:
        layer = BatchNormalization(kernels=kernels, dtype=policy)
        function = tf.function(lambda x: layer(x, training=True), autograph=False)
        graph = function.get_concrete_function(tf.TensorSpec((1, 4, 4, channels), layer.compute_dtype)).graph
        return sum(operation.type.startswith("Pad") for operation in graph.get_operations())

    assert paddings("mixed_bfloat16", 24, ONEDNN) == 5  # values, scale, offset, two moving statistics
    assert paddings("mixed_bfloat16", 24, PLAIN) == 0
    assert paddings("mixed_bfloat16", 32, ONEDNN) == 0
    assert paddings("float32", 24, ONEDNN) == 0

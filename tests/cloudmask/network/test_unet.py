"""The network against the reference's figures, and the formats that it is kept in."""

import numpy as np
import pytest
import tensorflow as tf

from cloudmask import task
from cloudmask.config import DataSettings
from cloudmask.data.patches import read_patches
from cloudmask.network import networks, unet
from common.errors import UserError
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training.settings import TrainingSettings
from common.training.step import TrainingStep
from tests.cloudmask.conftest import set_golden_weights
from tests.helpers import GOLDEN

REFERENCE = networks.NETWORKS["reference"]


def test_it_is_the_reference_s_network():
    network = unet.unet()
    assert (len(network.layers), network.count_params()) == (39, 1_948_609)


def test_first_loss_and_accuracy_are_the_reference_s(golden, golden_scene, golden_network):
    patches = read_patches(golden_scene, DataSettings())
    sums = {name: [] for name in ("loss", "pixel_accuracy")}
    for first in range(0, 20, 5):  # five at a time, for memory
        part = tuple(array[first : first + 5] for array in patches)
        for name, (value, weight) in task.objective(part, golden_network(part[0])).items():
            sums[name].append(float(value) / float(weight))
    assert np.mean(sums["loss"]) == pytest.approx(float(golden["train_loss_bce"]), rel=1e-5)
    assert np.mean(sums["pixel_accuracy"]) == pytest.approx(float(golden["train_pixel_accuracy"]), abs=1e-6)


def test_five_steps_of_adam_are_the_reference_s(golden, golden_scene, golden_network):
    batch = tuple(tf.constant(array[:4]) for array in read_patches(golden_scene, DataSettings()))
    adam = optimizers.build(OptimizerSettings(), ScheduleSettings())
    step = TrainingStep(golden_network, adam, task.objective, TrainingSettings())
    losses = [float(step(batch).terms["loss"]) for _ in range(5)]
    np.testing.assert_allclose(losses, golden["train_loss_adam_5steps"], rtol=1e-5)


def trained_once(patches: tuple, *, xla: bool) -> tuple:
    """A step of the reference's network from golden weights: (loss, gradients)."""
    network = unet.unet(xla=xla)
    set_golden_weights(network)
    adam = optimizers.build(OptimizerSettings(), ScheduleSettings())
    step = TrainingStep(network, adam, task.objective, TrainingSettings(xla=xla))
    gradients, sums = tf.function(lambda batch: step._gradients(*batch))(patches)
    loss = float(step(patches).terms["loss"])
    assert loss == pytest.approx(float(sums[0, 0] / sums[0, 1]), rel=1e-6)
    return loss, gradients


def test_xla_takes_the_same_step():
    rng = np.random.default_rng(0)
    image = tf.constant(rng.random((2, 32, 40, 9), dtype=np.float32))
    cloud = tf.constant(rng.integers(0, 2, (2, 32, 40, 1)), tf.uint8)
    (loss, plain), (xla_loss, compiled) = (trained_once((image, cloud, cloud), xla=xla) for xla in (False, True))
    assert xla_loss == pytest.approx(loss, rel=1e-6)
    for ours, theirs in zip(compiled, plain):  # Adam's first step has only the gradient's sign, so gradients it is
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(tf.reduce_max(tf.abs(theirs))))


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_up_sampling_is_keras_s_and_its_gradient_the_sum(precision):
    x = tf.cast(np.random.default_rng(0).normal(size=(2, 3, 4, 5)), precision)
    upstream = tf.cast(np.random.default_rng(1).integers(-8, 9, (2, 6, 8, 5)), precision)  # so that sums are exact
    results = {}
    for name, up in {"ours": unet.twice_as_large, "Keras'": tf.keras.layers.UpSampling2D(2, dtype=precision)}.items():
        with tf.GradientTape() as tape:
            tape.watch(x)
            larger = up(x)
        results[name] = (larger, tape.gradient(larger, x, upstream))
    for ours, theirs in zip(*results.values()):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(results["ours"][1], tf.reduce_sum(tf.reshape(upstream, (2, 3, 2, 4, 2, 5)), (2, 4)))


@pytest.mark.parametrize("name", ["model.keras", "saved_model"])
@pytest.mark.filterwarnings("ignore")
def test_a_saved_network_is_keras_s_own_to_keras(tmp_path, golden_network, name):
    golden_network.save(tmp_path / name)
    image = np.random.default_rng(0).random((1, 16, 24, 9), dtype=np.float32)
    network = tf.keras.models.load_model(tmp_path / name)
    np.testing.assert_array_equal(network(image), golden_network(image))
    layers = [layer for layer in network.layers if layer.name.startswith("up_sampling2d")]
    assert [(type(layer).__name__, layer.get_config()["size"]) for layer in layers] == [("UpSampling2D", (2, 2))] * 3


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved_model"])
@pytest.mark.filterwarnings("ignore")
def test_saved_networks_load_with_their_weights(tmp_path, golden_network, name):
    save_format = {"model.keras": "keras", "model.h5": "h5", "saved_model": "tf"}[name]
    golden_network.save(tmp_path / name, save_format=save_format)
    for ours, theirs in zip(networks.load(REFERENCE, str(tmp_path / name)).get_weights(), golden_network.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


def test_a_network_trained_in_mixed_precision_infers_in_float32(tmp_path, golden_network):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = unet.unet()
        mixed.set_weights(golden_network.get_weights())
        mixed.save(tmp_path / "model.keras")
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    image = np.random.default_rng(0).random((1, 16, 24, 9), dtype=np.float32)
    expected = golden_network(image)
    np.testing.assert_allclose(networks.load(REFERENCE, str(tmp_path / "model.keras"))(image), expected, atol=1e-6)
    assert np.abs(mixed(image) - expected).max() > 1e-5


def test_another_network_is_refused(tmp_path):
    inputs = tf.keras.layers.Input((None, None, 9))
    tf.keras.Model(inputs, tf.keras.layers.Conv2D(32, 5)(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(UserError, match="holds no weights of this network"):
        networks.load(REFERENCE, str(tmp_path / "other.keras"))


def test_a_missing_or_broken_model_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such model"):
        networks.load(REFERENCE, str(tmp_path / "none.keras"))
    for name in ("broken.keras", "broken.h5"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(UserError, match="holds no weights of this network"):
            networks.load(REFERENCE, str(tmp_path / name))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no weights of this network"):
        networks.load(REFERENCE, str(tmp_path / "empty"))


def test_a_file_that_was_saved_before_the_code_was_moved_still_loads():
    network = networks.load(REFERENCE, str(GOLDEN / "cloudmask_flat_layout.keras"))
    for number, weight in enumerate(network.get_weights()):
        np.testing.assert_array_equal(weight, np.full(weight.shape, np.float32(0.001 * (number % 50 + 1))))


def test_an_unknown_network_is_named_with_its_nearest():
    with pytest.raises(UserError, match="there is no network 'referense': did you mean 'reference'"):
        networks.find("referense")

"""The network against the reference's figures, and the formats that it is kept in."""

import numpy as np
import pytest
import tensorflow as tf

from cloudmask import config, task
from cloudmask.config import DataSettings, ModelSettings
from cloudmask.data.patches import read_patches
from cloudmask.network import decoders, networks, unet, up_sampling
from common.errors import UserError
from common.keras import files as keras_files
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training.settings import TrainingSettings
from common.training.step import TrainingStep
from tests.cloudmask.conftest import set_golden_weights
from tests.helpers import GOLDEN
from tests.versions import BOUNDS, ON_2_12, OWN_KERAS_FILES


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


def five_steps_of_adam(scene: str, *, layered: bool) -> list:
    """The losses, of the golden network."""
    network = unet.unet(layered=layered)
    set_golden_weights(network)
    batch = tuple(tf.constant(array[:4]) for array in read_patches(scene, DataSettings()))
    adam = optimizers.build(OptimizerSettings(), ScheduleSettings())
    step = TrainingStep(network, adam, task.objective, TrainingSettings())
    return [float(step(batch).terms["loss"]) for _ in range(5)]


# The same five losses computed in float64, by either decoder. Adam's first steps take the sign of a gradient whatever
# its size, so rounding grows from step to step: the reference's own figures, in float32, are 2e-4 from these.
EXACT_LOSSES = (0.7770063281, 1.8002717495, 0.7047064304, 0.6476331949, 0.7010329366)


def test_five_steps_of_adam_are_the_reference_s(golden, golden_scene):
    losses = five_steps_of_adam(golden_scene, layered=True)
    np.testing.assert_allclose(losses, golden["train_loss_adam_5steps"], rtol=BOUNDS.adam_losses)


def test_five_steps_with_fewer_products_are_as_near_to_the_exact_ones(golden, golden_scene):
    ours, theirs = five_steps_of_adam(golden_scene, layered=False), golden["train_loss_adam_5steps"]
    assert ours[0] == pytest.approx(theirs[0], rel=2e-7)
    as_near = np.abs(theirs / EXACT_LOSSES - 1).max()
    assert as_near < 2.1e-4
    assert np.abs(np.divide(ours, EXACT_LOSSES) - 1).max() < BOUNDS.transposed_decoder * as_near


def trained_once(patches: tuple, **settings: bool) -> tuple:
    """A step of the reference's network from golden weights, with these settings of `training`: (loss, gradients)."""
    network = unet.unet(layered=settings.get("recompute", False))
    set_golden_weights(network)
    adam = optimizers.build(OptimizerSettings(), ScheduleSettings())
    step = TrainingStep(network, adam, task.objective, TrainingSettings(**settings))
    gradients, sums = tf.function(lambda batch: step._gradients(*batch))(patches)
    loss = float(step(patches).terms["loss"])
    assert loss == pytest.approx(float(sums[0, 0] / sums[0, 1]), rel=1e-6)
    return loss, gradients


@pytest.mark.parametrize("settings", [{"xla": True}, {"recompute": True}, {"xla": True, "recompute": True}])
def test_a_step_is_the_same(settings):
    rng = np.random.default_rng(0)
    image = tf.constant(rng.random((2, 32, 40, 9), dtype=np.float32))
    cloud = tf.constant(rng.integers(0, 2, (2, 32, 40, 1)), tf.uint8)
    loss, plain = trained_once((image, cloud, cloud))
    other_loss, other = trained_once((image, cloud, cloud), **settings)
    assert other_loss == pytest.approx(loss, rel=1e-6)
    for ours, theirs in zip(other, plain):  # Adam's first step has only the gradient's sign, so gradients it is
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(tf.reduce_max(tf.abs(theirs))))


def step_up(decode) -> tuple:
    """(features, gradients for low, skipped, kernel) of a step up, at an odd size."""
    rng = np.random.default_rng(0)
    low, skipped = (tf.constant(rng.normal(size=shape)) for shape in ((2, 3, 5, 4), (2, 6, 10, 3)))
    convolution = tf.keras.layers.Conv2D(6, 3, padding="same")
    convolution.build((None, None, None, 7))
    convolution.set_weights([rng.normal(size=(3, 3, 7, 6)), rng.normal(size=6)])
    with tf.GradientTape() as tape:
        tape.watch([low, skipped])
        features = decode(low, skipped, convolution)
    upstream = tf.constant(rng.normal(size=features.shape))
    return features, *tape.gradient(features, [low, skipped, convolution.kernel], upstream)


def test_a_transposed_convolution_is_up_sampling_and_convolving(request):
    request.addfinalizer(lambda: tf.keras.mixed_precision.set_global_policy("float32"))
    tf.keras.mixed_precision.set_global_policy("float64")
    for ours, theirs in zip(step_up(decoders.transposed), step_up(decoders.layers)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_decoders_give_the_same_mask(golden_network):
    image = np.random.default_rng(0).random((2, 40, 56, 9), dtype=np.float32)
    plain = unet.unet(layered=True)
    plain.set_weights(golden_network.get_weights())
    np.testing.assert_allclose(golden_network(image), plain(image), atol=2e-6)


@pytest.mark.parametrize(("recompute", "layered"), [(False, False), (True, True)])
def test_recomputation_takes_the_network_of_layers_by_itself(recompute, layered):
    settings = config.load(overrides=[f"training.recompute={str(recompute).lower()}"])
    network = task.make_task(settings, task.TrainingData([], [], None, None), threads=1).network
    assert not hasattr(settings.model, "decoder")
    assert any(isinstance(layer, up_sampling.TwiceAsLarge) for layer in network.layers) == layered
    assert isinstance(network, unet.TransposedUNet) != layered


SAVE_FORMATS = {"model.keras": "keras_v3", "model.h5": "h5", "saved_model": "tf"}


@pytest.mark.parametrize("name", [pytest.param("model.keras", marks=OWN_KERAS_FILES), "saved_model"])
@pytest.mark.filterwarnings("ignore")
def test_a_saved_network_is_keras_s_own_to_keras(tmp_path, golden_network, name):
    golden_network.save(tmp_path / name, save_format=SAVE_FORMATS[name])
    image = np.random.default_rng(0).random((1, 16, 24, 9), dtype=np.float32)
    network = tf.keras.models.load_model(tmp_path / name)
    np.testing.assert_allclose(network(image), golden_network(image), atol=1e-6)
    plain = unet.unet(layered=True)
    keras_files.load_weights(plain, tmp_path / name)
    np.testing.assert_array_equal(network(image), plain(image))
    layers = [layer for layer in network.layers if layer.name.startswith("up_sampling2d")]
    assert [(type(layer).__name__, layer.get_config()["size"]) for layer in layers] == [("UpSampling2D", (2, 2))] * 3


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved_model"])
@pytest.mark.filterwarnings("ignore")
def test_saved_networks_load_with_their_weights(tmp_path, golden_network, name):
    golden_network.save(tmp_path / name, save_format=SAVE_FORMATS[name])
    for ours, theirs in zip(
        networks.load(ModelSettings(), str(tmp_path / name)).get_weights(), golden_network.get_weights()
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_network_trained_in_mixed_precision_infers_in_float32(tmp_path, golden_network):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = unet.unet()
        mixed.set_weights(golden_network.get_weights())
        keras_files.save(mixed, tmp_path / "model.keras")
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    image = np.random.default_rng(0).random((1, 16, 24, 9), dtype=np.float32)
    expected = golden_network(image)
    np.testing.assert_allclose(
        networks.load(ModelSettings(), str(tmp_path / "model.keras"))(image), expected, atol=1e-6
    )
    assert np.abs(mixed(image) - expected).max() > 1e-5


def test_another_network_is_refused(tmp_path):
    inputs = tf.keras.layers.Input((None, None, 9))
    keras_files.save(tf.keras.Model(inputs, tf.keras.layers.Conv2D(32, 5)(inputs)), tmp_path / "other.keras")
    with pytest.raises(UserError, match="holds no weights of this network"):
        networks.load(ModelSettings(), str(tmp_path / "other.keras"))


def test_a_missing_or_broken_model_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such model"):
        networks.load(ModelSettings(), str(tmp_path / "none.keras"))
    for name in ("broken.keras", "broken.h5"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(UserError, match="holds no weights of this network"):
            networks.load(ModelSettings(), str(tmp_path / name))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no weights of this network"):
        networks.load(ModelSettings(), str(tmp_path / "empty"))


@pytest.mark.skipif(ON_2_12, reason="saved by TensorFlow 2.15, whose .keras files 2.12 cannot read")
def test_a_file_that_was_saved_before_the_code_was_moved_still_loads():
    network = networks.load(ModelSettings(), str(GOLDEN / "cloudmask_flat_layout.keras"))
    for number, weight in enumerate(network.get_weights()):
        np.testing.assert_array_equal(weight, np.full(weight.shape, np.float32(0.001 * (number % 50 + 1))))


def test_an_unknown_network_is_named_with_its_nearest():
    with pytest.raises(UserError, match="there is no network 'referense': did you mean 'reference'"):
        networks.find("referense")

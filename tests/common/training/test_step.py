"""The training step: accumulation, clipping, precision, and the step at which a loss breaks."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.errors import UserError
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training.checkpoints import Checkpoint
from common.training.settings import TrainingSettings, batch_sizes
from common.training.state import State
from common.training.step import TrainingStep


def small_network() -> tf.keras.Model:
    tf.keras.utils.set_random_seed(4)
    inputs = tf.keras.layers.Input((6, 5, 3))
    x = tf.keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    return tf.keras.Model(inputs, tf.keras.layers.Conv2D(1, 1, dtype="float32")(x))


def objective(batch, outputs) -> dict:
    truth, weight = batch[1], batch[2]
    return {"loss": (tf.reduce_mean(weight * (outputs - truth) ** 2), tf.reduce_mean(weight))}


def batch(size: int = 8) -> tuple:
    rng = np.random.default_rng(1)
    shapes = ((size, 6, 5, 3), (size, 6, 5, 1))
    image, truth = (rng.random(shape, dtype=np.float32) for shape in shapes)
    # Micro-batches of very different weight: only an exact weighted mean gives the same step.
    weight = (rng.random(shapes[1]) < np.linspace(0.1, 1, size)[:, None, None, None]).astype(np.float32)
    return image, truth, weight


def trained(updates: int, precision: str = "float32", scale_loss: bool = False, data=None, **settings) -> TrainingStep:
    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        network = small_network()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    optimizer = OptimizerSettings(start_lr=0.05, max_grad_norm=0.1)
    built = optimizers.build(optimizer, ScheduleSettings(), scale_loss=scale_loss)
    step = TrainingStep(network, built, objective, TrainingSettings(**settings))
    for _ in range(updates):
        step.last = step(tuple(map(tf.constant, data or batch()))).terms
    return step


def weights(step: TrainingStep) -> np.ndarray:
    return np.concatenate([weight.ravel() for weight in step.network.get_weights()])


@pytest.mark.parametrize("passes", [2, 4])
def test_k_accumulated_passes_are_one_step_of_the_whole_batch(passes):
    whole, parts = trained(5), trained(5, gradient_accumulation_frequency=passes)
    np.testing.assert_allclose(weights(parts), weights(whole), atol=1e-6)
    assert int(parts.optimizer.iterations) == 5  # the schedule counts updates, not passes


def test_xla_takes_the_same_step():
    np.testing.assert_allclose(weights(trained(3, xla=True)), weights(trained(3)), atol=1e-5)


@pytest.mark.parametrize(("precision", "scale_loss"), [("mixed_bfloat16", False), ("mixed_float16", True)])
def test_mixed_precision_learns_with_float32_weights(precision, scale_loss):
    step = trained(30, precision, scale_loss)
    assert {weight.dtype for weight in step.network.weights} == {tf.float32}
    assert float(step.last["loss"]) < 0.5 * float(trained(1).last["loss"])


def test_pixels_without_weight_have_no_influence():
    image, truth, weight = batch()
    changed = np.where(weight > 0, truth, 99.0).astype(np.float32)
    np.testing.assert_array_equal(weights(trained(3, data=(image, changed, weight))), weights(trained(3)))


def test_a_batch_without_any_weight_changes_nothing():
    image, truth, weight = batch()
    step = trained(1, data=(image, truth, weight * 0))
    np.testing.assert_array_equal(weights(step), weights(trained(0)))
    assert float(step.last["loss"]) == 0.0


def test_clipping_bounds_the_step_s_gradient():
    settings = OptimizerSettings(optimizer="Adam", max_grad_norm=0.5)
    optimizer = optimizers.build(settings, ScheduleSettings())
    clipped = optimizer._clip_gradients([tf.constant([3.0, 4.0])])
    np.testing.assert_allclose(clipped[0], [0.3, 0.4], rtol=1e-6)


def test_the_first_bad_update_is_kept():
    step = trained(2)
    assert int(step.first_bad_update) == 0
    image, truth, weight = batch()
    for bad in (np.nan, np.inf):
        step(tuple(map(tf.constant, (image, truth * np.float32(bad), weight))))
    assert int(step.first_bad_update) == 3


def test_the_global_batch_is_shared_out_or_refused():
    settings = TrainingSettings(global_batch_size=48, gradient_accumulation_frequency=2)
    assert batch_sizes(settings, ranks=4) == (6, 12, 48, 6, 0)
    with pytest.raises(UserError, match="48 cannot be divided evenly among 5 ranks x 2 accumulated passes"):
        batch_sizes(settings, ranks=5)


@pytest.mark.parametrize(("rule", "factor"), [("none", 1), ("linear", 9), ("sqrt", 3)])
def test_the_learning_rate_scales_with_ranks(rule, factor):
    settings = OptimizerSettings(start_lr=0.01, learning_rate_scaling=rule)
    assert optimizers.scaled_learning_rate(settings, 9) == pytest.approx(0.01 * factor)


def test_a_checkpoint_of_arrays_of_other_shapes_is_refused():
    """As many arrays, in the same order, one of them turned."""
    step = trained(1)
    arrays = State(step).arrays()
    turned = next(name for name, array in arrays.items() if array.ndim == 4)
    arrays[turned] = arrays[turned].transpose(0, 1, 3, 2)
    with pytest.raises(UserError, match="is of another network or optimizer"):
        State(step).restore(Checkpoint(Path("memory"), 1, arrays, {}))


def test_a_checkpoint_holds_the_loss_scale():
    image, truth, weight = batch()
    step = trained(2, "mixed_float16", True)
    step(tuple(map(tf.constant, (image, truth * np.float32(np.inf), weight))))  # overflows: scale is halved
    saved = Checkpoint(Path("memory"), 3, State(step).arrays(), {})
    other = trained(0, "mixed_float16", True)
    assert float(other.optimizer.loss_scale) != float(step.optimizer.loss_scale)
    State(other).restore(saved)
    assert float(other.optimizer.loss_scale) == float(step.optimizer.loss_scale)
    assert int(other.optimizer.dynamic_counter) == int(step.optimizer.dynamic_counter)

"""What the step and the loop do where there is a GPU, which is only pretended here: graphs, devices by name, counts."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from common.data import device
from common.data.device import cast_input, shipped_dtype, to_device
from common.distributed import devices
from common.distributed.placement import inter_op_threads
from common.errors import InterruptedTrainingError
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training import checkpoints, loop
from common.training.interruption import updates_between_checks
from common.training.settings import TrainingSettings
from common.training.step import TrainingStep
from tests.common.training import test_loop
from tests.common.training.test_step import batch, objective, small_network, trained, weights


@pytest.fixture(autouse=True)
def _gpu(monkeypatch):
    """A CPU by the name of a GPU."""
    monkeypatch.setattr(devices, "on_gpu", lambda: True)
    monkeypatch.setattr(device, "_GPU", "/CPU:0")


def in_policy(precision: str) -> tf.keras.Model:
    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        return small_network()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def test_micro_batches_stay_in_host_memory_until_their_turn():
    whole, micro = (8, 6, 5, 3), (2, 6, 5, 3)
    step = trained(1, gradient_accumulation_frequency=4)
    graph = step._compiled.get_concrete_function(tuple(map(tf.constant, batch()))).graph
    (body,) = (
        graph._get_function(op.get_attr("body").name).graph for op in graph.get_operations() if "While" in op.type
    )
    slices = 0
    for operation in [*graph.get_operations(), *body.get_operations()]:
        shapes = [tuple(tensor.shape) for tensor in operation.inputs if tensor.shape.rank]
        if operation.type in ("While", "StatelessWhile"):
            continue
        if whole in shapes or (4, *micro) in shapes:
            assert operation.device.endswith("CPU:0"), operation
            slices += operation.type == "StridedSlice"
    assert slices == 2  # the first before the loop, the others in it


def test_the_optimizer_is_part_of_the_step_s_graph_and_not_compiled_for_each_variable(monkeypatch):
    keras_optimizer = sys.modules[tf.keras.optimizers.Optimizer.__module__]
    monkeypatch.setattr(keras_optimizer.tf.config, "list_physical_devices", lambda kind=None: ["a GPU"])
    assert tf.keras.optimizers.SGD().jit_compile  # what Keras does there
    for name in optimizers.OPTIMIZERS:
        built = optimizers.build(OptimizerSettings(optimizer=name, start_lr=0.1), ScheduleSettings())
        assert not built.jit_compile
        step = TrainingStep(small_network(), built, objective, TrainingSettings())
        graph = step._compiled.get_concrete_function(tuple(map(tf.constant, batch()))).graph
        assert [op.name for op in graph.get_operations() if "_XlaMustCompile" in op.node_def.attr] == []


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_input_gives_the_same_bits_as_the_network_s_own_cast(precision):
    network = in_policy(precision)
    dtype = shipped_dtype(network)
    assert dtype.name == precision.removeprefix("mixed_")
    images = tf.random.stateless_normal((4, 6, 5, 3), (1, 0)) * 100.0
    (shipped,) = cast_input((images,), dtype)
    np.testing.assert_array_equal(network(shipped, training=True), network(images, training=True))


def test_input_travels_as_float32_to_layers_in_float32_and_on_cpus(monkeypatch):
    assert shipped_dtype(small_network()) == tf.float32
    monkeypatch.setattr(devices, "on_gpu", lambda: False)
    assert shipped_dtype(in_policy("mixed_float16")) == tf.float32


@pytest.mark.parametrize("ahead", [True, False])
def test_batches_come_to_the_device_in_order_and_in_their_type(ahead):
    pipeline = tf.data.Dataset.range(5).map(lambda n: (tf.fill((2, 3), tf.cast(n, tf.float32)), tf.cast(n, tf.uint8)))
    found = list(to_device(pipeline, dtype=tf.float16, ahead=ahead))
    assert [(float(image[1, 2]), int(label)) for image, label in found] == [(n, n) for n in range(5)]
    assert {(image.dtype.name, label.dtype.name) for image, label in found} == {("float16", "uint8")}


@pytest.mark.parametrize("passes", [1, 2])
def test_a_training_takes_the_same_steps_whatever_brings_its_batches(tmp_path, monkeypatch, passes):
    test_loop.write(tmp_path / "data")
    final = []
    for gpu in (True, False):
        monkeypatch.setattr(devices, "on_gpu", lambda gpu=gpu: gpu)
        settings = {"gradient_accumulation_frequency": passes, "warmup_steps": 1}
        task = test_loop.task(tmp_path / "data")
        test_loop.train(task, tmp_path, f"gpu {gpu}", **settings)
        final.append(np.concatenate([weight.ravel() for weight in task.network.get_weights()]))
    np.testing.assert_array_equal(*final)


def test_a_warmed_up_step_is_not_traced_again(tmp_path):
    step = trained(1, precision="mixed_float16", scale_loss=True)
    images, *others = map(tf.constant, batch())
    (shipped, *_) = cast_input((images,), shipped_dtype(step.network))
    step((shipped, *others))
    step((shipped, *others))
    assert step._compiled.experimental_get_tracing_count() == 2  # float32 by `trained`, then float16
    assert np.isfinite(weights(step)).all()


@pytest.mark.parametrize(("logging_frequency", "looks"), [(0, 10), (1, 1), (7, 7), (500, 10)])
def test_the_stop_flag_is_looked_at_when_records_are_made_but_not_too_seldom(monkeypatch, logging_frequency, looks):
    assert updates_between_checks(logging_frequency) == looks
    monkeypatch.setattr(devices, "on_gpu", lambda: False)
    assert updates_between_checks(logging_frequency) == 1


class _Warned:
    """As Warnings, of a process that was warned before its first update."""

    name = "SIGUSR1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(("logging_frequency", "stopped"), [(1, 2), (2, 2), (3, 3), (5, 5)])
@pytest.mark.parametrize("when", ["epoch", "none"])
def test_a_warned_training_stops_at_the_next_look_with_a_checkpoint(
    tmp_path, monkeypatch, logging_frequency, stopped, when
):
    monkeypatch.setattr(loop, "Warnings", _Warned)
    test_loop.write(tmp_path / "data")  # three updates an epoch
    task = test_loop.task(tmp_path / "data")
    with pytest.raises(InterruptedTrainingError, match=f"after update {stopped} by SIGUSR1"):
        test_loop.train(task, tmp_path, "a", logging_frequency=logging_frequency, checkpoints=when)
    assert checkpoints.list_steps(tmp_path / "a" / "checkpoints")[-1] == stopped


def test_more_operations_run_at_once_on_gpus_only():
    assert [inter_op_threads(cores, 1, gpu=gpu) for cores, gpu in ((12, True), (1, True), (12, False))] == [12, 2, 1]

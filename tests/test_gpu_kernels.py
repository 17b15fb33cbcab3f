"""What a GPU would be given to do, read from the graphs and the kernel registry of this machine's TensorFlow: PyPI's
wheel holds the GPU kernels whether there is a GPU or not."""

import functools
from typing import Any, NamedTuple

import pytest
import tensorflow as tf
from tensorflow.python.framework.kernels import get_registered_kernels_for_op

from cloudmask import task as cloudmask_task
from cloudmask.network.unet import unet
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training.settings import TrainingSettings
from common.training.step import TrainingStep
from tf_deepcam import task as deepcam_task
from tf_deepcam.config import LossSettings
from tf_deepcam.network import deeplab
from tf_deepcam.network.kernels import PLAIN

pytestmark = pytest.mark.skipif(
    all(kernel.device_type != "GPU" for kernel in get_registered_kernels_for_op("Conv2D").kernel),
    reason="this TensorFlow was built without CUDA",
)

# Without a kernel of their own: placed or inlined before any kernel is looked for; and what only the host does.
NOT_RUN_ON_A_DEVICE = {"PartitionedCall", "StatefulPartitionedCall", "Placeholder"}
HOROVOD = {"HorovodAllreduce", "HorovodGroupedAllreduce"}  # GPU kernels in a build with NCCL only


class Example(NamedTuple):
    """A network, its objective, and a batch's (shape, type) of each array."""

    network: tf.keras.Model
    objective: Any
    batch: tuple


def cloudmask() -> Example:
    masks = ((2, 16, 24, 1), tf.uint8)
    return Example(unet(), cloudmask_task.objective, (((2, 16, 24, 9), tf.float32), masks, masks))


def deepcam() -> Example:
    network = deeplab.deeplab(16, 3, width=0.05, middle_blocks=1, kernels=PLAIN)
    batch = (((2, 32, 48, 16), tf.float32), ((2, 32, 48), tf.uint8))
    return Example(network, deepcam_task.objective(LossSettings()), batch)


@functools.cache
def operations(name: str, precision: str = "float32", optimizer: str = "LAMB") -> list:
    """Every operation of a training step's graph, those in its functions too."""
    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        network, objective, batch = {"cloudmask": cloudmask, "deepcam": deepcam}[name]()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    settings = OptimizerSettings(optimizer=optimizer, max_grad_norm=1.0)
    built = optimizers.build(settings, ScheduleSettings(), scale_loss=precision == "mixed_float16")
    step = TrainingStep(network, built, objective, TrainingSettings())
    graph = step._compiled.get_concrete_function(tuple(tf.TensorSpec(*array) for array in batch)).graph.as_graph_def()
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]


def has_gpu_kernel(node: tf.compat.v1.NodeDef) -> bool:
    def fits(constraint: Any) -> bool:
        value, allowed = node.attr[constraint.name], set(constraint.allowed_values.list.type)
        return (set(value.list.type) or {value.type}) <= allowed

    kernels = get_registered_kernels_for_op(node.op).kernel
    return any(
        kernel.device_type in ("GPU", "DEFAULT") and all(fits(constraint) for constraint in kernel.constraint)
        for kernel in kernels
    )


@pytest.mark.parametrize(
    ("name", "precision", "optimizer"),
    [
        ("cloudmask", "float32", "LAMB"),
        ("cloudmask", "mixed_float16", "Adam"),
        ("cloudmask", "mixed_bfloat16", "AdamW"),
        ("deepcam", "mixed_float16", "LAMB"),
        pytest.param("deepcam", "float32", "Adam", marks=pytest.mark.slow),
        pytest.param("deepcam", "mixed_bfloat16", "AdamW", marks=pytest.mark.slow),
    ],
)
def test_every_operation_of_a_training_step_has_a_gpu_kernel(name, precision, optimizer):
    nodes = operations(name, precision, optimizer)
    assert {"Conv2D", "Conv2DBackpropFilter"} <= {node.op for node in nodes}
    without = {node.op for node in nodes if not has_gpu_kernel(node)}
    assert without - NOT_RUN_ON_A_DEVICE - HOROVOD == set()


def test_a_type_that_gpus_have_no_kernel_for_is_found():
    node = tf.compat.v1.NodeDef(op="AvgPool")
    for kind, found in ((tf.float32, True), (tf.int32, False)):
        node.attr["T"].type = kind.as_datatype_enum
        assert has_gpu_kernel(node) == found


def test_cloudmask_has_no_resizing_that_xla_and_deterministic_gpus_refuse():
    found = {node.op for node in operations("cloudmask")}
    assert {"Conv2DBackpropInput", "Conv2DBackpropFilter"} <= found
    assert {name for name in found if name.startswith("Resize")} == set()

"""Run by test_exchanges.py on two ranks: what each training step would exchange, from its graph; nothing is computed.

usage: python exchanges.py OUTPUT.json
"""

import json
import sys
from pathlib import Path

import tensorflow as tf

from cloudmask import task as cloudmask_task
from cloudmask.network import unet
from common import distributed
from common.cli.program import run_program
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training.settings import TrainingSettings
from common.training.step import TrainingStep
from tests.tf_deepcam.recompute import small_network
from tf_deepcam import task as deepcam_task
from tf_deepcam.config import LossSettings

MASKS = tf.TensorSpec((2, 16, 32, 1), tf.uint8)
BATCHES = {
    "cloudmask": (tf.TensorSpec((2, 16, 32, 9)), MASKS, MASKS),
    "deepcam": (tf.TensorSpec((2, 8, 12, 16)), tf.TensorSpec((2, 16, 24), tf.uint8)),
}


def traced(name: str, precision: str, *, compress: bool) -> tf.Graph:
    """The graph of a benchmark's training step on a small network; DeepCAM's ranks share batch statistics."""
    tf.keras.mixed_precision.set_global_policy(precision)
    if name == "cloudmask":
        network, objective = unet.unet(levels=(4, 4)), cloudmask_task.objective
    else:
        network, objective = small_network(), deepcam_task.objective(LossSettings())
    optimizer = optimizers.build(OptimizerSettings(), ScheduleSettings(), scale_loss=precision == "mixed_float16")
    settings = TrainingSettings(precision=precision, compress_allreduce=compress)
    return TrainingStep(network, optimizer, objective, settings)._compiled.get_concrete_function(BATCHES[name]).graph


def exchange(operation: tf.Operation) -> dict:
    """What test_exchanges.py judges; source: the type of operation whose result is sent, behind any cast to send it."""
    (sent,) = operation.inputs
    source = sent.op.inputs[0].op if sent.op.type == "Cast" else sent.op
    return {
        "average": operation.get_attr("reduce_op") == 0,
        "sum": operation.get_attr("reduce_op") == 1,
        "type": sent.dtype.name,
        "source": source.type,
    }


def main() -> int:
    distributed.init(group_size=lambda ranks: ranks)
    exchanges = {}
    for name in BATCHES:
        for precision, compress in (("mixed_bfloat16", False), ("mixed_float16", False), ("mixed_float16", True)):
            operations = traced(name, precision, compress=compress).get_operations()
            sent = [exchange(operation) for operation in operations if operation.type == "HorovodAllreduce"]
            exchanges[f"{name} {precision} {compress}"] = sent
    if distributed.is_root():
        Path(sys.argv[1]).write_text(json.dumps(exchanges))
    return 0


if __name__ == "__main__":
    run_program(main)

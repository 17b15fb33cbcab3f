"""Run by test_two_ranks.py on 1 and on 2 ranks: several clipped steps of a small network, then an evaluation.

usage: python two_ranks.py SCENES OUTPUT.npz
"""

import sys
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from cloudmask import config, task
from cloudmask.data.listing import list_scenes
from cloudmask.data.patches import evaluation_patches
from common import distributed
from common.cli.program import run_program
from common.data.batches import Reading
from common.keras.inference import forward
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training.settings import TrainingSettings
from common.training.state import State
from common.training.step import TrainingStep


def small_network() -> tf.keras.Model:
    """Different on every rank until rank 0's state is broadcast."""
    tf.keras.utils.set_random_seed(distributed.rank())
    inputs = tf.keras.layers.Input((None, None, 9))
    x = tf.keras.layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    return tf.keras.Model(inputs, tf.keras.layers.Conv2D(1, 1, activation="sigmoid")(x))


def smallest_step(gradient: float) -> float:
    """How far plain descent of rate 1 moves a weight whose gradient this is, exchanged as float16 in mixed_float16."""
    network = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
    network.set_weights([np.zeros((1, 1), np.float32)])
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.SGD(1.0))
    settings = TrainingSettings(precision="mixed_float16", compress_allreduce=True)
    step = TrainingStep(
        network, optimizer, lambda batch, outputs: {"loss": (gradient * tf.reduce_sum(outputs), 1.0)}, settings
    )
    step((tf.ones((1, 1)),))
    return -float(network.get_weights()[0][0, 0])


def main() -> int:
    scenes_folder, output = sys.argv[1:]
    placement = distributed.init()
    # 40 x 104 pixels: 3 patches a scene, 15 in all, which does not divide by 2.
    settings = config.DataSettings(image_h=40, image_w=104, patch_size=32)
    scenes = list_scenes(scenes_folder)
    network = small_network()
    optimizer = optimizers.build(OptimizerSettings(start_lr=0.01, max_grad_norm=0.05), ScheduleSettings())
    step = TrainingStep(network, optimizer, task.objective, TrainingSettings())
    State(step).broadcast()
    # 12 of the samples are one global batch: 12 a rank on 1 rank, 6 on 2. Each rank takes its part of the same order.
    batches = evaluation_patches(scenes[:4], settings, 12 // distributed.size(), Reading())
    batch = tuple(map(tf.constant, batches.load(0)))
    losses = [float(step(batch).terms["loss"]) for _ in range(6)]
    exact = [weight.copy() for weight in network.get_weights()]
    # One more step with float16 between the ranks, undone afterwards.
    TrainingStep(network, optimizer, task.objective, TrainingSettings(compress_allreduce=True))(batch)
    compressed = np.concatenate([weight.ravel() for weight in network.get_weights()])
    network.set_weights(exact)
    steps = [smallest_step(gradient) for gradient in (1e-8, 1.5)]  # times 2 ^ 15 the second is near float16's end
    held_out = evaluation_patches(scenes, settings, 4, Reading())
    scores = task.evaluate(forward(network), held_out, placement.threads)
    everywhere = distributed.gather_objects(scores)
    weights = np.concatenate([weight.ravel() for weight in network.get_weights()])
    result = SimpleNamespace(weights=weights, compressed=compressed, losses=losses, steps=steps)
    result.scores = list(scores.values())
    same = distributed.gather_objects(weights)
    if distributed.is_root():
        assert all(other == scores for other in everywhere)
        assert all(np.array_equal(other, weights) for other in same)
        np.savez(output, size=distributed.size(), **vars(result))
    return 0


if __name__ == "__main__":
    run_program(main)

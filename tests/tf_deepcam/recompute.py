"""Run by test_recompute.py on two ranks that share batch statistics: one update with kept and with recomputed
activations, each rank with its own sample. usage: python recompute.py OUTPUT.npz"""

import sys

import numpy as np
import tensorflow as tf

from common import distributed
from common.cli.program import run_program
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training.settings import TrainingSettings
from common.training.step import TrainingStep
from tf_deepcam.config import LossSettings
from tf_deepcam.network.layers import Convolution, Deconvolution
from tf_deepcam.network.normalization import GroupBatchNormalization
from tf_deepcam.task import objective


def small_network() -> tf.keras.Model:
    """A residual block and an up-sampling, with DeepCAM's group batch norm."""
    inputs = tf.keras.layers.Input((None, None, 16))
    x = tf.keras.layers.ReLU()(GroupBatchNormalization(name="bn1")(Convolution(16, name="conv1")(inputs)))
    x = tf.keras.layers.Add()([GroupBatchNormalization(name="bn2")(Convolution(16, name="conv2")(x)), inputs])
    return tf.keras.Model(inputs, Deconvolution(3, name="deconv", dtype="float32")(x))


def main() -> int:
    distributed.init(group_size=lambda ranks: ranks)
    rng = np.random.default_rng(distributed.rank())
    batch = tf.constant(rng.normal(size=(1, 8, 12, 16)), tf.float32), tf.constant(rng.integers(0, 3, (1, 16, 24)))
    found = {}
    for recompute in (False, True):
        tf.keras.utils.set_random_seed(1)
        network = small_network()
        # An epsilon above most gradients: Adam's first step is else a sign, which rounding can turn.
        optimizer = optimizers.build(OptimizerSettings(eps=1.0, start_lr=1.0), ScheduleSettings())
        update = TrainingStep(network, optimizer, objective(LossSettings()), TrainingSettings(recompute=recompute))
        update(batch)
        weights = np.concatenate([weight.ravel() for weight in network.get_weights()])
        assert np.ptp(distributed.gather_objects(weights), axis=0).max() == 0, "ranks differ"
        found["recomputed" if recompute else "kept"] = weights
    if distributed.is_root():
        np.savez(sys.argv[1], **found)
    return 0


if __name__ == "__main__":
    run_program(main)

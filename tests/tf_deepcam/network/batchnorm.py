"""Run by test_normalization.py on 1, 2 and 4 ranks: a grouped batch norm over this rank's part of one batch.

usage: python batchnorm.py GROUP_SIZE OUTPUT.npz
"""

import sys

import numpy as np
import tensorflow as tf

from common import distributed
from common.cli.program import run_program
from tf_deepcam.network.normalization import GroupBatchNormalization


def main() -> int:
    group_size, output = int(sys.argv[1]), sys.argv[2]
    distributed.init(group_size=lambda ranks: group_size)
    values = np.random.default_rng(3).normal(2.0, 3.0, (8, 4, 5, 3)).astype(np.float32)
    values[4:] += 5.0  # so that groups differ
    share = len(values) // distributed.size()
    own = tf.constant(values[distributed.rank() * share :][:share])
    layer = GroupBatchNormalization(momentum=0.5, epsilon=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(own)
        result = layer(own, training=True)
        loss = tf.reduce_sum(result**3)
    gradient = tape.gradient(loss, own)
    statistics = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    parts = distributed.gather_objects((result.numpy(), gradient.numpy(), *statistics))
    if distributed.is_root():
        results, gradients, means, variances = zip(*parts)
        np.savez(
            output,
            result=np.concatenate(results),
            gradient=np.concatenate(gradients),
            means=np.stack(means),
            variances=np.stack(variances),
        )
    return 0


if __name__ == "__main__":
    run_program(main)

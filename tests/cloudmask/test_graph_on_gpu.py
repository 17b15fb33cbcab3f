"""CloudMask's training step and evaluation as a GPU would run them, and the evaluation's counts against NumPy's."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from cloudmask.network.unet import unet
from cloudmask.scores import BinaryCounts
from cloudmask.task import evaluation_sums, objective
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training.settings import TrainingSettings
from common.training.step import TrainingStep
from tests.graph_on_gpu import has_gpu_kernels, large_in_host_memory

needs_kernels = pytest.mark.skipif(not has_gpu_kernels(), reason="this TensorFlow was built without GPU code")
PIXELS = (4, 32, 32, 1)
LABEL = tf.TensorSpec(PIXELS, tf.uint8)


@needs_kernels
def test_the_training_step_keeps_pictures_on_the_gpu():
    optimizer = optimizers.build(OptimizerSettings(start_lr=0.1), ScheduleSettings())
    step = TrainingStep(unet(), optimizer, objective, TrainingSettings())
    concrete = step._compiled.get_concrete_function((tf.TensorSpec((4, 32, 32, 9)), LABEL, LABEL))
    assert large_in_host_memory(concrete) == []


@needs_kernels
def test_the_evaluation_counts_on_the_gpu():
    count = tf.function(partial(evaluation_sums, threshold=0.5))
    assert large_in_host_memory(count.get_concrete_function(tf.TensorSpec(PIXELS), LABEL, LABEL)) == []


def test_the_evaluation_counts_what_numpy_counts():
    rng = np.random.default_rng(5)
    probability = rng.random(PIXELS, dtype=np.float32)
    cloud, measured = (rng.integers(0, 2, PIXELS, dtype=np.uint8) for _ in range(2))
    probability[:2][measured[:2] == 0] = np.nan
    probability[3, 0], probability[3, 1] = 0.0, 1.0  # sure, and often wrong
    ours = evaluation_sums(tf.constant(probability), tf.constant(cloud), tf.constant(measured), 0.5).numpy()[5:]
    theirs = BinaryCounts.of(probability, cloud, measured, 0.5).as_array()
    np.testing.assert_array_equal(ours[:4], theirs[:4])
    assert ours[4] == pytest.approx(theirs[4], rel=1e-14)

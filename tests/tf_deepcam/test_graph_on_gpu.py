"""DeepCAM's training step and evaluation as a GPU would run them: no picture goes through host memory."""

import pytest
import tensorflow as tf

from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.training.settings import TrainingSettings
from common.training.step import TrainingStep
from tests.graph_on_gpu import has_gpu_kernels, large_in_host_memory
from tf_deepcam.config import LossSettings
from tf_deepcam.losses import pixel_loss
from tf_deepcam.network import deeplab
from tf_deepcam.network.kernels import PLAIN
from tf_deepcam.scores import intersection_over_union
from tf_deepcam.task import objective

pytestmark = pytest.mark.skipif(not has_gpu_kernels(), reason="this TensorFlow was built without GPU code")
FIELDS, LABELS = tf.TensorSpec((4, 32, 48, 16)), tf.TensorSpec((4, 32, 48), tf.uint8)


def test_the_check_finds_comparisons_of_int32():
    function = tf.function(lambda classes: tf.reduce_all(classes == 1))
    assert large_in_host_memory(function.get_concrete_function(tf.TensorSpec((4, 1024), tf.int32))) == [
        "Equal of bool (4, 1024), int32 (4, 1024): in host memory"
    ]
    assert large_in_host_memory(function.get_concrete_function(tf.TensorSpec((4, 1024), tf.uint8))) == []


def test_the_training_step_keeps_pictures_on_the_gpu():
    network = deeplab.deeplab(width=0.05, middle_blocks=0, kernels=PLAIN)
    optimizer = optimizers.build(OptimizerSettings(start_lr=0.1), ScheduleSettings())
    settings = TrainingSettings(gradient_accumulation_frequency=2)
    step = TrainingStep(network, optimizer, objective(LossSettings()), settings)
    assert large_in_host_memory(step._compiled.get_concrete_function((FIELDS, LABELS))) == []


@pytest.mark.parametrize("loss", ["weighted", "focal", "false_positive"])
def test_losses_and_score_keep_pictures_on_the_gpu(loss):
    def sums(logits, labels):
        scores = intersection_over_union(tf.argmax(logits, -1), labels, 3)
        return tf.reduce_sum(pixel_loss(labels, logits, LossSettings(loss=loss))), tf.reduce_sum(scores)

    logits = tf.TensorSpec((None, 32, 48, 3))
    assert (
        large_in_host_memory(tf.function(sums).get_concrete_function(logits, tf.TensorSpec((None, 32, 48), tf.uint8)))
        == []
    )

"""DeepCAM's Task for the training engine: network, loss, batches, evaluation and goal."""

from typing import Callable

import tensorflow as tf

from common import distributed
from common.data.batches import Batches
from common.keras.flops import forward_gflop
from common.training.assemble import Data
from common.training.evaluate import sum_over_batches
from common.training.task import Goal, Objective, Task
from common.training.warmup import made_up
from tf_deepcam.batch_statistics import group_size
from tf_deepcam.config import Config, LossSettings
from tf_deepcam.data.samples import CLASSES
from tf_deepcam.losses import pixel_loss
from tf_deepcam.network import deeplab
from tf_deepcam.scores import intersection_over_union

SCORE = "iou"
_BACKWARD = 2  # the backward pass costs twice the forward one


def make_task(config: Config, batches: Data, threads: int) -> Task:
    """Make DeepCAM's task, with a network of random weights.

    Args:
        config: the settings.
        batches: to train on and to evaluate on.
        threads: batches read at once in evaluation.
    """
    shape = batches.training.arrays[0].shape  # [height, width, channels]
    settings = config.training
    network = deeplab.deeplab(
        shape[-1], CLASSES, **config.model.form(), batchnorm_group_size=group_size(settings, distributed.size())
    )
    sums = evaluation_sums(network, config, batches.held_out)
    return Task(
        network,
        objective(config.loss),
        batches.training,
        lambda: evaluate(sums, batches.held_out, threads),
        Goal(SCORE, settings.target_iou, settings.max_epochs),
        gflop_per_sample=(1 + _BACKWARD) * forward_gflop(network, shape),
        rehearse=lambda: sums(*made_up(batches.held_out.arrays, 1)),
    )


def objective(settings: LossSettings) -> Objective:
    """Return the objective: loss and IoU of a batch, each the mean over samples, so that all ranks weigh the same."""

    def measure(batch: tuple, logits: tf.Tensor) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        """batch: (fields, labels [batch, height, width]); logits: [batch, height, width, 3] float32."""
        scores = intersection_over_union(tf.argmax(logits, -1), batch[1], CLASSES)
        one = tf.constant(1.0)
        return {
            "loss": (tf.reduce_mean(pixel_loss(batch[1], logits, settings)), one),
            SCORE: (tf.reduce_mean(scores), one),
        }

    return measure


Sums = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def evaluation_sums(network: tf.keras.Model, config: Config, batches: Batches) -> Sums:
    """Compile the function from a batch's fields and labels to [summed loss, summed IoU, samples]."""
    # Traced once for any number of samples: the last batch may be smaller.
    signature = [tf.TensorSpec((None, *spec.shape), spec.dtype) for spec in batches.arrays]

    @tf.function(input_signature=signature, jit_compile=config.training.xla or None, autograph=False)
    def sums(fields: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = network(fields, training=False)
        loss = tf.reduce_mean(pixel_loss(labels, logits, config.loss), (1, 2))
        scores = intersection_over_union(tf.argmax(logits, -1), labels, CLASSES)
        return tf.stack([tf.reduce_sum(loss), tf.reduce_sum(scores), tf.cast(tf.shape(labels)[0], tf.float32)])

    return sums


def evaluate(sums: Sums, batches: Batches, threads: int) -> dict[str, float]:
    """Compute loss and IoU as means over all samples of all ranks, each counted once. A collective call."""
    loss, score, samples = sum_over_batches(batches, lambda batch: sums(*batch).numpy(), 3, threads)
    return {"loss": float(loss / samples), SCORE: float(score / samples)}

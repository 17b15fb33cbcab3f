"""CloudMask's task for the training engine: network, loss, batches, evaluation and goal."""

from functools import partial
from typing import Callable, NamedTuple

import numpy as np
import tensorflow as tf

from cloudmask.config import Config, LossSettings
from cloudmask.data import scenes
from cloudmask.data.listing import list_scenes
from cloudmask.data.patches import evaluation_patches, training_patches
from cloudmask.losses import pixel_loss
from cloudmask.network import networks
from cloudmask.scores import SUREST, BinaryCounts
from common import distributed
from common.data.batches import Batches, Reading
from common.data.files import DataFile
from common.errors import UserError
from common.keras.inference import forward
from common.runs.environment import code_checksum
from common.training.evaluate import sum_over_batches
from common.training.settings import BatchSizes
from common.training.task import Goal, Task
from common.training.warmup import made_up

SCORE = "pixel_accuracy"
_AS_THE_REFERENCE = LossSettings()


class TrainingData(NamedTuple):
    """Scenes and batches to train on, and those held out."""

    scenes: list[DataFile]
    held_out_scenes: list[DataFile]
    training: Batches
    held_out: Batches


def training_data(config: Config, sizes: BatchSizes, threads: int) -> TrainingData:
    """List and split the scenes, and set up their batches. Collective.

    Args:
        config: the settings.
        sizes: samples of an update and of an evaluation batch.
        threads: reading threads of this rank.

    Raises:
        UserError: if there are fewer training scenes than ranks.
    """
    listed = list_scenes(config.data.train_dir, config.data.max_scenes)
    training, held_out = scenes.split(listed, config.data)
    if len(training) < distributed.size():
        raise UserError(
            f"{len(training)} training scenes in {config.data.train_dir} for {distributed.size()} ranks: "
            "start at most one rank per scene",
            on_all_ranks=True,
        )
    reading = Reading(config.data, threads, recipe=f"{config.data!r} {code_checksum()}")
    batches = training_patches(
        training, config.data, sizes.per_update, seed=config.training.seed, reading=reading, began_on=sizes.began_on
    )
    return TrainingData(
        training, held_out, batches, evaluation_patches(held_out, config.data, sizes.evaluation, reading)
    )


def make_task(config: Config, data: TrainingData, threads: int) -> Task:
    """Build the task, with a network initialised from the seed."""
    network = networks.find(config.model.network).build(layered=config.training.recompute)
    compiled = forward(network, xla=config.training.xla)
    only_measured = config.data.missing == "mask"
    return Task(
        network,
        partial(objective, only_measured=only_measured, loss=config.loss),
        data.training,
        lambda: evaluate(compiled, data.held_out, threads, only_measured=only_measured),
        Goal(SCORE, config.training.target, config.training.epochs),
        rehearse=lambda: compiled(made_up(data.held_out.arrays, data.held_out.batch_size)[0]),
    )


def objective(
    batch: tuple, probability: tf.Tensor, *, only_measured: bool = True, loss: LossSettings = _AS_THE_REFERENCE
) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Compute loss and pixel accuracy of a batch, each as (mean of value times weight, mean weight).

    Args:
        batch: (image, cloud, measured), the latter two [batch, height, width, 1] uint8.
        probability: [batch, height, width, 1] float32, of cloud.
        only_measured: whether only the measured pixels count.
        loss: which loss, with its settings.
    """
    truth = tf.cast(batch[1], tf.float32)
    weight = tf.cast(batch[2], tf.float32) if only_measured else tf.ones_like(truth)
    losses = pixel_loss(truth, probability, loss)
    right = tf.cast((probability > 0.5) == (truth > 0.5), tf.float32)
    share = tf.reduce_mean(weight)
    return {
        "loss": (tf.reduce_mean(losses * weight), share),
        SCORE: (tf.reduce_mean(right * weight), share),
    }


def evaluation_sums(probability: tf.Tensor, cloud: tf.Tensor, measured: tf.Tensor, threshold: float) -> tf.Tensor:
    """Count a batch's pixels, on the network's own device so that no mask is copied to the host.

    Args:
        probability: [batch, height, width, 1] float32, of cloud.
        cloud: the labels, of the same shape, uint8, 0 or 1.
        measured: likewise, the pixels that were measured.
        threshold: the probability above which a pixel is cloud.

    Returns:
        BinaryCounts.as_array() over all pixels, then over the measured ones: [10] float64.
    """
    probability = tf.cast(probability, tf.float64)
    positive, truth, seen = probability > threshold, cloud > 0, measured > 0
    certain = tf.clip_by_value(tf.where(truth, probability, 1.0 - probability), SUREST, 1.0)
    loss = -tf.math.log(certain)
    sums = []
    for where in (tf.ones_like(seen), seen):
        cells = (positive & truth, positive & ~truth, ~positive & truth, ~positive & ~truth)
        sums += [tf.cast(tf.math.count_nonzero(cell & where), tf.float64) for cell in cells]
        sums.append(tf.reduce_sum(tf.where(where, loss, 0.0)))  # a pixel that is not measured may hold NaN
    return tf.stack(sums)


def evaluate(
    compiled: Callable[[np.ndarray], tf.Tensor],
    batches: Batches,
    threads: int,
    *,
    only_measured: bool = True,
    threshold: float = 0.5,
) -> dict[str, float]:
    """Score the network on all samples of `batches` over all ranks. Collective.

    Args:
        compiled: the network's forward pass.
        batches: the held-out samples of this rank.
        threads: reading threads of this rank.
        only_measured: whether only the measured pixels count.
        threshold: the probability above which a pixel is cloud.

    Returns:
        BinaryCounts.scores() with the log loss under "loss", and the accuracies over all and over the measured pixels.

    Raises:
        UserError: if no pixel counts.
    """

    count = tf.function(partial(evaluation_sums, threshold=threshold), autograph=False, reduce_retracing=True)

    def measure(batch: tuple) -> np.ndarray:
        return count(compiled(batch[0]), batch[1], batch[2]).numpy()

    everywhere, measured = map(BinaryCounts.from_array, np.split(sum_over_batches(batches, measure, 10, threads), 2))
    counts = measured if only_measured else everywhere
    if not counts.pixels:
        raise UserError("no pixel of the held-out scenes was measured: there is nothing to score", on_all_ranks=True)
    scores = counts.scores()
    return {
        "loss": scores.pop("log_loss"),
        **scores,
        "accuracy_all_pixels": everywhere.scores()[SCORE],
        "accuracy_measured_pixels": measured.scores()[SCORE],
    }

"""What CloudMask gives to the engine: network, loss, batches, evaluation, goal."""

from functools import partial
from typing import Callable, NamedTuple

import numpy as np
import tensorflow as tf

from cloudmask.config import Config
from cloudmask.data import scenes
from cloudmask.data.patches import evaluation_patches, training_patches
from cloudmask.network import networks
from cloudmask.scores import BinaryCounts
from common import distributed
from common.data.batches import Batches, Reading
from common.data.files import DataFile
from common.errors import UserError
from common.runs.environment import code_checksum
from common.training.evaluate import sum_over_batches
from common.training.settings import BatchSizes
from common.training.step import forward
from common.training.task import Goal, Task
from common.training.warmup import made_up

SCORE = "pixel_accuracy"


class TrainingData(NamedTuple):
    """Scenes and batches for training, and those held out."""

    scenes: list[DataFile]
    held_out_scenes: list[DataFile]
    batches: Batches
    held_out: Batches


def training_data(config: Config, sizes: BatchSizes, threads: int) -> TrainingData:
    """Raises UserError if there are too few scenes. A collective call."""
    found = scenes.list_scenes(config.data.train_dir, config.data.max_scenes)
    training, held_out = scenes.split(found, config.data)
    if len(training) < distributed.size():
        raise UserError(
            f"{len(training)} training scenes in {config.data.train_dir} for {distributed.size()} ranks: "
            "start at most one rank per scene",
            on_all_ranks=True,
        )
    reading = Reading(config.data, threads, recipe=f"{config.data!r} {code_checksum()}")
    batches = training_patches(training, config.data, sizes.per_update, seed=config.training.seed, reading=reading)
    return TrainingData(
        training, held_out, batches, evaluation_patches(held_out, config.data, sizes.evaluation, reading)
    )


def make_task(config: Config, data: TrainingData, threads: int) -> Task:
    """The network is drawn anew from the seed."""
    network = networks.find(config.model.network).build()
    compiled = forward(network, xla=config.training.xla)
    only_measured = config.data.missing == "mask"
    return Task(
        network,
        partial(objective, only_measured=only_measured),
        data.batches,
        lambda: evaluate(compiled, data.held_out, threads, only_measured=only_measured),
        Goal(SCORE, config.training.target, config.training.epochs),
        rehearse=lambda: compiled(made_up(data.held_out.arrays, data.held_out.batch_size)[0]),
    )


def objective(
    batch: tuple, probability: tf.Tensor, *, only_measured: bool = True
) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Binary cross entropy and pixel accuracy over the measured pixels, or over all, each as (sum, weight).

    batch: (image, cloud, measured); probability: [batch, height, width, 1] float32.
    """
    truth = tf.cast(batch[1], tf.float32)
    weight = tf.cast(batch[2], tf.float32) if only_measured else tf.ones_like(truth)
    # Keras' own formula and clipping (1e-7), so that losses compare with the reference's.
    entropy = tf.keras.backend.binary_crossentropy(truth, probability)
    right = tf.cast((probability > 0.5) == (truth > 0.5), tf.float32)
    share = tf.reduce_mean(weight)
    return {
        "loss": (tf.reduce_mean(entropy * weight), share),
        SCORE: (tf.reduce_mean(right * weight), share),
    }


def evaluate(
    compiled: Callable[[np.ndarray], tf.Tensor],
    batches: Batches,
    threads: int,
    *,
    only_measured: bool = True,
    threshold: float = 0.5,
) -> dict[str, float]:
    """Scores over all samples of `batches` on all ranks: BinaryCounts.scores() with the log loss under "loss", and the
    accuracy over all pixels and over the measured ones.

    compiled: the network's forward pass. only_measured: the pixels that the scores are over. A collective call.
    """

    def measure(batch: tuple) -> np.ndarray:
        probability, cloud, measured = np.asarray(compiled(batch[0])), batch[1].numpy(), batch[2].numpy()
        positive, truth, seen = probability > threshold, cloud.view(bool), measured.view(bool)
        everywhere = BinaryCounts.of_certain(positive, truth, np.ones_like(truth))
        counted = measured if only_measured else np.ones_like(measured)
        parts = (
            BinaryCounts.of(probability, cloud, counted, threshold),
            everywhere,
            BinaryCounts.of_certain(positive, truth, seen),
        )
        return np.concatenate([part.as_array() for part in parts])

    sums = sum_over_batches(batches, measure, 3 * len(BinaryCounts().as_array()), threads)
    counts, everywhere, measured = map(BinaryCounts.from_array, np.split(sums, 3))
    if not counts.pixels:
        raise UserError("no pixel of the held-out scenes was measured: there is nothing to score on", on_all_ranks=True)
    scores = counts.scores()
    return {
        "loss": scores.pop("log_loss"),
        **scores,
        "accuracy_all_pixels": everywhere.scores()[SCORE],
        "accuracy_measured_pixels": measured.scores()[SCORE],
    }

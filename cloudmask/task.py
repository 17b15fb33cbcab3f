"""What CloudMask gives to the engine: network, loss, batches, evaluation, goal."""

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
    return TrainingData(training, held_out, batches, evaluation_patches(held_out, config.data, sizes.local, reading))


def make_task(config: Config, data: TrainingData, threads: int) -> Task:
    """The network is drawn anew from the seed."""
    network = networks.find(config.model.network).build()
    compiled = forward(network, xla=config.training.xla)
    return Task(
        network,
        objective,
        data.batches,
        lambda: evaluate(compiled, data.held_out, threads),
        Goal(SCORE, config.training.target, config.training.epochs),
    )


def objective(batch: tuple, probability: tf.Tensor) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Binary cross entropy and pixel accuracy over the pixels that have weight, each as (sum, weight).

    batch: (image, cloud, weight); probability: [batch, height, width, 1] float32.
    """
    truth, weight = tf.cast(batch[1], tf.float32), tf.cast(batch[2], tf.float32)
    # Keras' own formula and clipping (1e-7), so that losses compare with the reference's.
    entropy = tf.keras.backend.binary_crossentropy(truth, probability)
    right = tf.cast((probability > 0.5) == (truth > 0.5), tf.float32)
    share = tf.reduce_mean(weight)
    return {
        "loss": (tf.reduce_mean(entropy * weight), share),
        SCORE: (tf.reduce_mean(right * weight), share),
    }


def evaluate(
    compiled: Callable[[np.ndarray], tf.Tensor], batches: Batches, threads: int, threshold: float = 0.5
) -> dict[str, float]:
    """Scores over all samples of `batches` on all ranks: BinaryCounts.scores() with the log loss under "loss".

    compiled: the network's forward pass. A collective call.
    """

    def measure(batch: tuple) -> np.ndarray:
        image, cloud, weight = batch
        return BinaryCounts.of(np.asarray(compiled(image)), cloud.numpy(), weight.numpy(), threshold).as_array()

    sums = sum_over_batches(batches, measure, len(BinaryCounts().as_array()), threads)
    counts = BinaryCounts.from_array(sums)
    if not counts.pixels:
        raise UserError("no pixel of the held-out scenes was measured: there is nothing to score on", on_all_ranks=True)
    scores = counts.scores()
    return {"loss": scores.pop("log_loss"), **scores}

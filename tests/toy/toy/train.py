"""What the toy benchmark gives to the engine: data, network, loss, score."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from toy.config import Config

from common.data import npy
from common.data.batches import Batches, Reading, evaluation_batches, training_batches
from common.data.files import list_files
from common.data.sources import ArraySpec, FileFormat
from common.session import Session
from common.training import loop
from common.training.assemble import assemble
from common.training.evaluate import sum_over_batches
from common.training.settings import BatchSizes
from common.training.task import Goal, Task


class Data(NamedTuple):
    training: Batches
    held_out: Batches


def _read(path: str, out: tuple) -> None:
    with npy.open_array(path) as array:
        array.read_rows(0, out[0][0, ..., 0])
    out[1][0] = out[0][0] > 0.5


FORM = FileFormat(_read, (ArraySpec((8, 8, 1), np.float32), ArraySpec((8, 8, 1), np.uint8)))


def _load(config: Config, sizes: BatchSizes) -> Data:
    files, reading = list_files(config.data.folder, "x*.npy"), Reading()
    training = training_batches(
        files[:-2], FORM, sizes.per_update, seed=config.training.seed, reading=reading, began_on=sizes.began_on
    )
    return Data(training, evaluation_batches(files[-2:], FORM, sizes.evaluation, reading))


def _objective(batch: tuple, logits: tf.Tensor) -> dict:
    truth, one = tf.cast(batch[1], tf.float32), tf.constant(1.0)
    hits = tf.reduce_sum(truth * tf.cast(logits > 0, tf.float32))
    positives = tf.reduce_sum(truth) + tf.reduce_sum(tf.cast(logits > 0, tf.float32))
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(truth, logits))
    return {"loss": (loss, one), "f1": (2.0 * hits, positives)}


def _make_task(config: Config, data: Data, threads: int) -> Task:
    network = tf.keras.Sequential([tf.keras.layers.Conv2D(1, 1, input_shape=(8, 8, 1))])

    def evaluate() -> dict[str, float]:
        def sums(batch: tuple) -> np.ndarray:
            terms = _objective(batch, network(batch[0]))
            return np.array([terms["loss"][0] * len(batch[0]), len(batch[0]), *terms["f1"]], np.float64)

        loss, samples, hits, positives = sum_over_batches(data.held_out, sums, 4, threads)
        return {"loss": loss / samples, "f1": hits / max(positives, 1.0)}

    return Task(network, _objective, data.training, evaluate, Goal("f1", 0.0, config.training.passes))


def train(config: Config, session: Session) -> None:
    made = assemble(config, session, _load, lambda config, data: _make_task(config, data, session.threads))
    session.run.record(loop.train(made.task, made.optimizer, made.config.training, session, tensorboard=False))

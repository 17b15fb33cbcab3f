"""A network taught by the rule's sure pixels, and then by its own: self-training, or pseudo-labels.

The rule labels the pixels of which it is sure; all others have no weight. The network also sees the other channels and
the surroundings, and so learns to classify the pixels in between. Those of which it is sure become the labels of the
next round's network, which is initialised anew. After Lee, "Pseudo-Label: the Simple and Efficient
Semi-Supervised Learning Method for Deep Neural Networks", ICML 2013 workshop.
"""

from functools import partial
from typing import Callable, NamedTuple

import numpy as np
import tensorflow as tf

from cloudmask.network import networks
from cloudmask.research.cluster.rule import judge
from cloudmask.research.config import ResearchConfig
from cloudmask.task import objective
from common.keras.inference import forward
from common.optim import optimizers
from common.training.step import TrainingStep

_PREDICTED_AT_ONCE = 16


class Lesson(NamedTuple):
    """Training data of a round: images [n, size, size, 9]; cloud and weight, [n, size, size, 1] uint8."""

    images: np.ndarray
    cloud: np.ndarray
    weight: np.ndarray


def train(
    images: np.ndarray, measured: np.ndarray, config: ResearchConfig, say: Callable[[str], None]
) -> tf.keras.Model:
    """Train through all rounds.

    Args:
        images: [n, size, size, 9], normalised patches.
        measured: [n, size, size, 1] uint8, 0 where nothing was measured.
        config: the settings.
        say: called with a line for each round.

    Returns:
        The last round's network.
    """
    settings = config.cluster
    tf.keras.utils.set_random_seed(settings.seed)
    verdict = judge(images, settings)
    cloud: np.ndarray
    sure: np.ndarray
    cloud, sure = (each[..., np.newaxis].astype(np.uint8) for each in verdict)
    lesson = Lesson(images, cloud, sure * measured)
    for number in range(1, settings.rounds + 1):
        share = lesson.weight.sum() / max(measured.sum(), 1)
        network, loss = _round(lesson, config)
        say(f"self-training, round {number} of {settings.rounds}: {share:.0%} of the pixels teach, loss {loss:.4f}")
        if number < settings.rounds:
            lesson = _next(lesson, measured, network, settings.sure)
    return network


def _round(lesson: Lesson, config: ResearchConfig) -> tuple[tf.keras.Model, float]:
    """Train a new network; return it and the loss of its last update."""
    settings, batch = config.cluster, config.training.local_batch_size
    network = networks.find(settings.network).build(layered=config.training.recompute)
    optimizer = optimizers.build(config.optimizer, config.schedule, ranks=1)
    step = TrainingStep(network, optimizer, partial(objective, loss=config.loss), config.training)
    rng = np.random.default_rng(settings.seed)
    for _ in range(settings.updates):
        chosen = rng.integers(0, len(lesson.images), batch)
        result = step(tuple(tf.constant(array[chosen]) for array in lesson))
    step.check_finite()
    return network, float(result.terms["loss"])


def _next(lesson: Lesson, measured: np.ndarray, network: tf.keras.Model, sure: float) -> Lesson:
    compiled, images = forward(network), lesson.images
    parts = [
        np.asarray(compiled(images[first : first + _PREDICTED_AT_ONCE]))
        for first in range(0, len(images), _PREDICTED_AT_ONCE)
    ]
    probability = np.concatenate(parts)
    certain = np.maximum(probability, 1.0 - probability) > sure
    return Lesson(images, (probability > 0.5).astype(np.uint8), certain.astype(np.uint8) * measured)

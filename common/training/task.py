"""Task: what a benchmark gives to the training engine, and the seam between the two."""

from dataclasses import dataclass
from typing import Callable

import tensorflow as tf

from common.data.batches import Batches

# From a batch and the network's outputs to {name: (sum, weight)}, scalars; training minimises "loss".
Objective = Callable[[tuple, tf.Tensor], dict[str, tuple[tf.Tensor, tf.Tensor]]]


@dataclass(frozen=True)
class Goal:
    """When a training ends."""

    score: str  # name of the score that the target is for
    target: float  # training stops when the score reaches it; 0 is never
    epochs: int  # at most


@dataclass(frozen=True)
class Task:
    """A network, what it is trained on and for, and how it is evaluated.

    Attributes:
        network: trained in place.
        objective: what is minimised, and other means to record.
        batches: of the training samples.
        evaluate: returns {score name: value}, "loss" among them; a collective call.
        goal: when to stop.
        gflop_per_sample: operations of one sample's forward and backward pass, in 10^9; if given, TFLOP/s are recorded.
        rehearse: computes what evaluate does on made-up samples, so that it is compiled; touches no data.
        stage: work that is timed before the first update, such as staging the data; a collective call.
    """

    network: tf.keras.Model
    objective: Objective
    batches: Batches
    evaluate: Callable[[], dict[str, float]]
    goal: Goal
    gflop_per_sample: float = 0.0
    rehearse: Callable[[], object] = lambda: None
    stage: Callable[[], None] = lambda: None

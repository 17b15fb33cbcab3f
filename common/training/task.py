"""What a benchmark gives to the engine: the seam between the two."""

from dataclasses import dataclass
from typing import Callable

import tensorflow as tf

from common.data.batches import Batches

# From a batch and the network's outputs to {name: (sum, weight)}, scalars; "loss" is what training minimises.
Objective = Callable[[tuple, tf.Tensor], dict[str, tuple[tf.Tensor, tf.Tensor]]]


@dataclass(frozen=True)
class Goal:
    """score: the name of the one that the target is set for. target: training stops there; 0 is never."""

    score: str
    target: float
    epochs: int


@dataclass(frozen=True)
class Task:
    """A network, what it is trained on and for, and how it is judged.

    evaluate: a collective call that returns {score name: value}, "loss" among them.
    rehearse: what evaluate computes, on made-up samples, so that it is compiled; touches no data.
    stage: what is timed before the first update, such as bringing the data closer; a collective call.
    gflop_per_sample: work of one sample's forward and backward pass; if given, TFLOP/s are recorded.
    """

    network: tf.keras.Model
    objective: Objective
    batches: Batches
    evaluate: Callable[[], dict[str, float]]
    goal: Goal
    gflop_per_sample: float = 0.0
    rehearse: Callable[[], object] = lambda: None
    stage: Callable[[], None] = lambda: None

"""Updates on made-up samples before the timed run, after which every variable is restored.

What happens only in the first update is then not part of the run: tracing and compiling, the search for the fastest
convolutions, Horovod's first negotiation. MLPerf's rules allow this (training_rules, untimed initialisation) as long
as the data set is not touched.
"""

import numpy as np
import tensorflow as tf

from common.data.device import cast_input, shipped_dtype
from common.data.sources import ArraySpec
from common.training.state import State
from common.training.step import TrainingStep
from common.training.task import Task


def made_up(arrays: tuple[ArraySpec, ...], samples: int) -> tuple[tf.Tensor, ...]:
    """Make a batch without meaning: normally distributed floats, and ones for labels.

    Args:
        arrays: shape and type of each array of a sample.
        samples: the batch's size.

    Returns:
        Tensors [samples, *shape].
    """
    rng = np.random.default_rng(0)  # not TensorFlow's, whose state it would change
    tensors = []
    for spec in arrays:
        shape, dtype = (samples, *spec.shape), np.dtype(spec.dtype)
        values = rng.standard_normal(shape, np.float32) if dtype.kind == "f" else np.ones(shape)
        tensors.append(tf.constant(values.astype(dtype)))
    return tuple(tensors)


def warm_up(step: TrainingStep, state: State, task: Task, updates: int) -> None:
    """Take some updates and rehearse the evaluation, then restore every variable. Collective."""
    before = state.arrays()
    # Of the types that the loop uses, or the step would be traced once more.
    batch = cast_input(made_up(task.batches.arrays, task.batches.batch_size), shipped_dtype(task.network))
    for _ in range(updates):
        step(batch)
    state.average_statistics()
    task.rehearse()
    state.assign(list(before.values()))
    step.forget_bad()

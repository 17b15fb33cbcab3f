"""Updates on made-up samples before a run is timed, after which everything is as it was.

What happens once, in the first update, is then not part of the run: tracing and compiling, the search for the fastest
convolutions, Horovod's first negotiation. MLPerf's rules allow it (training_rules, untimed initialisation) as long as
the data set is not touched.
"""

import numpy as np
import tensorflow as tf

from common.data.device import cast_input, shipped_dtype
from common.data.sources import ArraySpec
from common.training.state import State
from common.training.step import TrainingStep
from common.training.task import Task


def made_up(arrays: tuple[ArraySpec, ...], samples: int) -> tuple[tf.Tensor, ...]:
    """Samples without meaning: normally distributed where floats are wanted, ones where labels are."""
    rng = np.random.default_rng(0)  # not TensorFlow's, whose state would be another one after it
    made = []
    for spec in arrays:
        shape, dtype = (samples, *spec.shape), np.dtype(spec.dtype)
        values = rng.standard_normal(shape, np.float32) if dtype.kind == "f" else np.ones(shape)
        made.append(tf.constant(values.astype(dtype)))
    return tuple(made)


def warm_up(step: TrainingStep, state: State, task: Task, updates: int) -> None:
    """So many updates, and the evaluation's computation; every variable is then given its value back. Collective."""
    before = state.arrays()
    # As the loop gives it, or the step would be traced once more.
    batch = cast_input(made_up(task.batches.arrays, task.batches.batch_size), shipped_dtype(task.network))
    for _ in range(updates):
        step(batch)
    state.average_statistics()
    task.rehearse()
    state.assign(list(before.values()))
    step.forget_bad()

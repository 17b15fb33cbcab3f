"""A dry run of a training: a few updates, a batch of evaluation, and an estimate of the whole. Leaves no file.

The first of each takes longer than all others, by libraries that are loaded and functions that are compiled: 3 to 60
times as long with small networks. So later ones are timed, unless the first was so long that it makes no difference.
"""

import resource
import time
from typing import Callable, NamedTuple, TypeVar

import numpy as np
import psutil
import tensorflow as tf

from common import distributed
from common.data.batches import Batches
from common.data.device import shipped_dtype, to_device
from common.distributed import devices
from common.session import Session
from common.training.assemble import Assembly
from common.training.journal import duration
from common.training.settings import TrainingSettings
from common.training.state import State
from common.training.step import TrainingStep
from common.training.task import Task
from common.training.warmup import warm_up

Result = TypeVar("Result")
_GIB = 2**30
_LATER = 3  # measurements after the first
_LONG_SECONDS = 20.0  # of a first one, in which what happens once is no matter


class Seconds(NamedTuple):
    """Times of the slowest rank."""

    compilation: float  # the first update, on made-up samples
    read: float  # reading one training batch
    update: float  # computing one update
    one: float  # an evaluation of one held-out batch
    several: float  # an evaluation of at most _LATER of them


def dry_run(assembly: Assembly, session: Session) -> None:
    """Take a few updates, evaluate a few batches, and print what memory and time the training will need. Collective.

    Args:
        assembly: the training. Only the first of its held-out batches is left afterwards.
        session: the unrecorded run.

    Raises:
        UserError: as the training itself would.
    """
    task, settings, held_out = assembly.task, assembly.config.training, assembly.data.held_out
    step = TrainingStep(task.network, assembly.optimizer, task.objective, settings)
    state = State(step)
    state.broadcast()
    evaluated = max(distributed.gather_objects(held_out.steps_per_epoch))

    def one_update(number: int) -> tuple[float, float]:
        """Read a batch by a pipeline of its own, so that it is not read ahead, and update. Returns both times."""
        dataset = task.batches.dataset(number, number + 1, parallel=session.threads)
        batches = iter(to_device(dataset, dtype=shipped_dtype(task.network), ahead=False))
        read, batch = _timed(lambda: next(batches))
        return read, _timed(lambda: float(step(batch).terms["loss"]))[0]

    try:
        compilation, _ = _timed(lambda: warm_up(step, state, task, 1))
        read, update = _later(one_update)
    except tf.errors.OpError as error:
        raise task.batches.problem(error) from error
    step.check_finite()
    held_out.keep_first(_LATER)
    (several,) = _later(lambda _: (_timed(task.evaluate)[0],))
    held_out.keep_first(1)
    (one,) = (several,) if evaluated == 1 else _later(lambda _: (_timed(task.evaluate)[0],))
    slowest = Seconds(*np.max(distributed.gather_objects((compilation, read, update, one, several)), axis=0).tolist())
    for line in (_memory(task.batches, session.threads), *_time(task, settings, slowest, evaluated, session.threads)):
        session.run.say(line)


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _later(measure: Callable[[int], tuple[float, ...]]) -> list[float]:
    """Return the median times of a few measurements after the first; of the first alone if it is long. Collective.

    measure: takes the number of the measurement and returns seconds.
    """
    first = measure(0)
    if max(distributed.gather_objects(sum(first))) > _LONG_SECONDS:
        return list(first)
    return np.median([measure(number) for number in range(1, 1 + _LATER)], axis=0).tolist()


def _memory(batches: Batches, threads: int) -> str:
    """A line on the memory of the rank that needs most. Collective."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB  # Linux counts in KiB
    gpu = tf.config.experimental.get_memory_info("GPU:0")["peak"] / _GIB if devices.on_gpu() else 0.0
    peak, gpu = np.max(distributed.gather_objects((peak, gpu)), axis=0).tolist()
    ahead = batches.read_ahead(threads)
    sample = sum(int(np.prod(spec.shape)) * tf.as_dtype(spec.dtype).size for spec in batches.arrays)
    waiting = (ahead.at_once + ahead.ready) * batches.batch_size * sample / _GIB
    node = psutil.virtual_memory().total / _GIB
    return (
        f"memory: {peak:.2f} GiB per rank, and up to {waiting:.2f} GiB for batches read ahead; "
        f"{distributed.local_size()} ranks on a node of {node:.1f} GiB"
        + (f"; {gpu:.2f} GiB on each GPU" if gpu else "")
    )


def _time(task: Task, settings: TrainingSettings, seconds: Seconds, evaluated: int, threads: int) -> list[str]:
    """Lines on the time of an update and of the whole training, with `evaluated` batches in each evaluation."""
    updates = task.goal.epochs * task.batches.steps_per_epoch
    frequency = settings.validation_frequency
    evaluations = -(-updates // frequency) if frequency else task.goal.epochs
    # Batches are read while others are computed, so the slower of the two sets the pace.
    pace = max(seconds.update, seconds.read / task.batches.read_ahead(threads).at_once)
    # An evaluation takes some time by itself, whatever the number of its batches.
    further = (seconds.several - seconds.one) / max(min(evaluated, _LATER) - 1, 1)
    evaluation = seconds.one + (evaluated - 1) * max(further, 0.0)
    total = seconds.compilation + updates * pace + evaluations * evaluation
    return [
        f"time: {seconds.compilation:.1f} s to compile; {seconds.update:.3f} s per update, {seconds.read:.3f} s to "
        f"read its batch; {evaluation:.3f} s per evaluation",
        f"to the end: {updates} updates in {task.goal.epochs} epochs, {evaluations} evaluations of {evaluated} "
        f"batches: about {duration(total)}" + (", less if the target is reached" if task.goal.target else ""),
    ]

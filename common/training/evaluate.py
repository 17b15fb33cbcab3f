"""Evaluation: sums over all batches of all ranks; the benchmark divides them once to get its scores."""

import time
from typing import Callable

import numpy as np
import tensorflow as tf

from common import distributed
from common.data.batches import Batches
from common.data.device import to_device
from common.errors import UserError
from common.training.settings import SILENCE_SECONDS


def sum_over_batches(
    batches: Batches, measure: Callable[[tuple], np.ndarray], entries: int, threads: int
) -> np.ndarray:
    """Add up `measure` over all batches of all ranks. A collective call.

    Args:
        batches: this rank's batches.
        measure: from a batch to an array of sums, [entries].
        entries: the number of these sums.
        threads: batches read at once.

    Returns:
        The sums over all ranks, [entries].

    Raises:
        UserError: on every rank if any rank cannot read its batches.
    """
    sums, problem = np.zeros(entries), None
    last_line = time.perf_counter()
    try:
        for number, batch in enumerate(to_device(batches.dataset(parallel=threads)), 1):
            sums += measure(batch)
            if distributed.is_root() and time.perf_counter() - last_line > SILENCE_SECONDS:
                print(f"  evaluated {number} of {batches.steps_per_epoch} batches of rank 0", flush=True)
                last_line = time.perf_counter()
    except tf.errors.OpError as error:
        explained = batches.problem(error)
        if not isinstance(explained, UserError):
            raise
        problem = explained
    distributed.raise_together(problem)
    return distributed.sum_over_ranks(sums)

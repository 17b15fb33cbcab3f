"""Sums over all batches of all ranks, from which scores are divided once."""

from typing import Callable

import numpy as np
import tensorflow as tf

from common import distributed
from common.data.batches import Batches
from common.errors import UserError


def sum_over_batches(
    batches: Batches, measure: Callable[[tuple], np.ndarray], entries: int, threads: int
) -> np.ndarray:
    """measure(batch), an array of `entries` sums, added up over all batches of all ranks. A collective call.

    Raises UserError on every rank if any cannot read its batches.
    """
    sums, problem = np.zeros(entries), None
    try:
        for batch in batches.dataset(parallel=threads):
            sums += measure(batch)
    except tf.errors.OpError as error:
        found = batches.problem(error)
        if not isinstance(found, UserError):
            raise
        problem = found
    distributed.raise_together(problem)
    return distributed.sum_over_ranks(sums)

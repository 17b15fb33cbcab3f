"""The collective operations, on whatever backend is in use; without a launcher there is one rank, and each is the
identity.

Conventions: rank 0 writes files and speaks; a *local rank* counts the ranks of one node; sums over ranks are made in
float64 and any division comes after them. Horovod, and TensorFlow with it, is loaded by `connect`, so that a program
that has only its arguments to check answers at once.
"""

import importlib.util
import socket
from typing import TYPE_CHECKING, Callable, Optional, TypeVar

import numpy as np

from common.distributed.backends import Backend, HorovodRanks, OneRank, without_horovod
from common.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

Result = TypeVar("Result")

_backend: Backend = OneRank()


def connect(group_size: Optional[Callable[[int], int]] = None) -> None:
    """Find the other ranks, by Horovod; where it is not installed there is one, unless a launcher started several.

    Args:
        group_size: from their number to that in a group for average_over_group, a divisor of it.

    Raises:
        UserError: if Horovod cannot be used, or sees other ranks than the launcher started.
    """
    global _backend
    if importlib.util.find_spec("horovod") is None:
        _backend = without_horovod(group_size)
        return
    ranks = HorovodRanks(group_size)
    # A single rank needs no exchange, and a graph without one is the same with and without Horovod.
    _backend = ranks if ranks.size > 1 else OneRank()


def rank() -> int:
    return _backend.rank


def size() -> int:
    return _backend.size


def local_rank() -> int:
    return _backend.local_rank


def local_size() -> int:
    return _backend.local_size


def nodes() -> int:
    return _backend.nodes


def is_root() -> bool:
    return rank() == 0


def group_ranks() -> int:
    """How many ranks average_over_group averages over."""
    return _backend.group_size


def barrier() -> None:
    """Wait until every rank is here."""
    gather_objects(None)


def broadcast_object(value: Result) -> Result:
    """Return rank 0's value (anything that can be pickled), on every rank."""
    return _backend.broadcast_object(value)


def gather_objects(value: Result) -> list[Result]:
    """Return every rank's value, in rank order, on every rank."""
    return _backend.gather_objects(value)


def on_root(function: Callable[[], Result]) -> Result:
    """Call `function` on rank 0 only; every rank gets its result, or raises the UserError that it raised."""
    outcome: tuple = (None, None)
    if is_root():
        try:
            outcome = (function(), None)
        except UserError as error:
            outcome = (None, str(error))
    result, message = broadcast_object(outcome)
    if message is not None:
        raise UserError(message, on_all_ranks=True)
    return result


def raise_together(error: Optional[UserError]) -> None:
    """If any rank has an error, every rank raises the first one, so that none is left waiting. A collective call."""
    messages = [text for text in gather_objects(None if error is None else str(error)) if text is not None]
    if messages:
        raise UserError(messages[0], on_all_ranks=True)


def check_same(what: str, value: str, remedy: str) -> None:
    """Raise UserError on every rank, naming the first that differs, if `value` is not the same on all. Collective."""
    everyone = gather_objects((socket.gethostname(), value))
    first_host, first_value = everyone[0]
    for number, (host, other) in enumerate(everyone):
        if other != first_value:
            raise UserError(
                f"rank {number} on {host} has another {what} than rank 0 on {first_host}: {remedy}", on_all_ranks=True
            )


def sum_over_ranks(values: np.ndarray) -> np.ndarray:
    """Return the element-wise float64 sum of every rank's array of one shape."""
    values = np.asarray(values, np.float64)
    return np.sum(gather_objects(values), axis=0) if size() > 1 else values


def broadcast_variables(variables: list) -> None:
    """Give every rank rank 0's values of these tf.Variables."""
    _backend.broadcast_variables(variables)


def average_over_ranks(tensors: list, *, compress: bool = False) -> list:
    """Return the mean over ranks of each tensor, inside a training step.

    Args:
        tensors: of float32.
        compress: send float16 instead of float32.
    """
    return _backend.average(tensors, compress=compress)


def average_over_group(tensor: "tf.Tensor") -> "tf.Tensor":
    """Return a tensor's mean over the ranks of this rank's group, differentiable, inside a training step."""
    return _backend.average_over_group(tensor)

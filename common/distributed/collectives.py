"""The collective operations, over Horovod. Without a launcher there is one rank and each is the identity.

Conventions: rank 0 writes files and speaks; a *local rank* counts the ranks of one node; sums over ranks are made in
float64 and any division comes after them. Horovod, and TensorFlow with it, is loaded by `connect`, so that a program
that has only its arguments to check answers at once.
"""

import os
import socket
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

import numpy as np

from common.distributed import launchers
from common.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

Result = TypeVar("Result")

_hvd: Any = None  # horovod.tensorflow, once connected
_group: Any = None  # the Horovod process set of this rank's group, if there are groups


def connect(group_size: Optional[Callable[[int], int]] = None) -> None:
    """Find the other ranks. group_size: from their number to that in a group for average_over_group, a divisor of it.

    Raises UserError if Horovod cannot be used, or sees other ranks than the launcher started.
    """
    global _hvd
    try:
        import horovod.tensorflow as hvd
    except ImportError as problem:
        raise UserError(
            f"Horovod cannot be used with this TensorFlow ({problem}): it was not compiled against it. "
            "Run `make venv` again, or install it as docs/install.md says under 'By hand'"
        ) from problem
    if group_size:
        os.environ["HOROVOD_DYNAMIC_PROCESS_SETS"] = "1"
    hvd.init()
    launchers.check_world(os.environ, hvd.size())
    _hvd = hvd
    if group_size:
        _make_groups(group_size(hvd.size()))


def _make_groups(size_of_group: int) -> None:
    global _group
    if size_of_group == 1:
        return
    ranks = size()
    if ranks % size_of_group:
        raise UserError(
            f"{ranks} ranks cannot be divided into groups of {size_of_group}: use a divisor, or 1",
            on_all_ranks=True,
        )
    if size_of_group == ranks:
        _group = _hvd.global_process_set
        return
    for first in range(0, ranks, size_of_group):
        # A collective call: every rank makes every group, in the same order.
        group = _hvd.add_process_set(range(first, first + size_of_group))
        if first <= rank() < first + size_of_group:
            _group = group


def _started() -> bool:
    return _hvd is not None


def rank() -> int:
    return _hvd.rank() if _started() else 0


def size() -> int:
    return _hvd.size() if _started() else 1


def local_rank() -> int:
    return _hvd.local_rank() if _started() else 0


def local_size() -> int:
    return _hvd.local_size() if _started() else 1


def nodes() -> int:
    return _hvd.cross_size() if _started() else 1


def is_root() -> bool:
    return rank() == 0


def barrier() -> None:
    """Wait until every rank is here."""
    gather_objects(None)


def broadcast_object(value: Result) -> Result:
    """Rank 0's value (anything that can be pickled), on every rank."""
    if size() == 1:
        return value
    with _on_the_host():
        return _hvd.broadcast_object(value, root_rank=0)


def gather_objects(value: Result) -> list:
    """Every rank's value, in rank order, on every rank."""
    if size() == 1:
        return [value]
    with _on_the_host():
        return _hvd.allgather_object(value)


def _on_the_host() -> Any:
    """For what is no tensor of the step: it has no way to make through a GPU, and if two ranks should have one GPU,
    they can tell each other before NCCL finds out."""
    import tensorflow as tf

    return tf.device("/CPU:0")


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
    """Raises UserError on every rank, naming the first that differs, if `value` is not the same on all. Collective."""
    found = gather_objects((socket.gethostname(), value))
    for number, (host, other) in enumerate(found):
        if other != found[0][1]:
            raise UserError(
                f"rank {number} on {host} has another {what} than rank 0 on {found[0][0]}: {remedy}", on_all_ranks=True
            )


def sum_over_ranks(values: np.ndarray) -> np.ndarray:
    """Element-wise float64 sum of every rank's array of one shape."""
    values = np.asarray(values, np.float64)
    return np.sum(gather_objects(values), axis=0) if size() > 1 else values


def broadcast_variables(variables: list) -> None:
    """Give every rank rank 0's values of these tf.Variables."""
    if size() > 1:
        _hvd.broadcast_variables(variables, root_rank=0)


def average_over_ranks(tensors: list, compress: bool = False) -> list:
    """Mean over ranks of each tensor, inside a training step. One operation a tensor, so that the exchange of the
    last layers' gradients overlaps the backward pass of the first (Sergeev and Del Balso, arXiv:1802.05799).

    compress: send float16 instead of float32, divided by the ranks before the sum, which many ranks' would overflow.
    """
    if size() == 1:
        return tensors
    if compress:
        parts = [tensor / size() for tensor in tensors]
        return [_hvd.allreduce(part, op=_hvd.Sum, compression=_hvd.Compression.fp16) for part in parts]
    return [_hvd.allreduce(tensor, op=_hvd.Average) for tensor in tensors]


def average_over_group(tensor: "tf.Tensor") -> "tf.Tensor":
    """Mean of a tensor over the ranks of this rank's group, differentiable, inside a training step."""
    return tensor if _group is None else _hvd.allreduce(tensor, op=_hvd.Average, process_set=_group)


def group_ranks() -> int:
    """How many ranks average_over_group averages over."""
    return 1 if _group is None else _group.size()

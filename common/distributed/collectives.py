"""Ranks: who am I, how many are we, and the few collective operations that everything else needs.

The only file that imports Horovod. Without a launcher there is one rank and every collective is the identity.

Conventions: rank 0 writes files and speaks; a *local rank* counts the ranks of one node; sums over ranks are made in
float64 and any division comes after them.
Source of the rules on devices and threads: Horovod's guide (one GPU a rank, memory growth on), and our own
measurements of two ranks on two cores (README.md, "Speed").
"""

import os
import socket
from dataclasses import dataclass
from typing import Callable, Optional, TypeVar

import numpy as np
import tensorflow as tf

from common.distributed import launchers
from common.errors import UserError

try:
    import horovod.tensorflow as hvd

    _horovod_problem: Optional[ImportError] = None
except ImportError as problem:
    hvd, _horovod_problem = None, problem

Result = TypeVar("Result")


@dataclass(frozen=True)
class Placement:
    """Where this rank runs: cores that are its own, and the GPU if it has one."""

    threads: int
    gpu: Optional[str]


_group = None  # the Horovod process set of this rank's group, if there are groups


def init(threads: int = 0, group_size: int = 1) -> Placement:
    """Start Horovod, give this rank its GPU and its share of the node's cores. Call once, before any TensorFlow op.

    threads: compute threads of this rank; 0 shares the node's cores out evenly over its ranks.
    group_size: ranks in a group for average_over_group, neighbours by number; it must divide the number of ranks.
    Raises UserError if Horovod cannot be used or sees other ranks than were started, or the node has fewer GPUs than
    ranks.
    """
    if hvd is None:
        raise UserError(
            f"Horovod cannot be used with this TensorFlow ({_horovod_problem}): it was not compiled against it. "
            "Run `make venv` again, or install it as README.md says under 'Installing by hand'"
        )
    if not tf.config.list_physical_devices("GPU"):
        # Milliseconds between Horovod's looks at what is ready to be exchanged. Its default of 1 suits GPUs; on a CPU
        # those looks take 8 % of a core from the computation (`make bench`, row "two ranks").
        os.environ.setdefault("HOROVOD_CYCLE_TIME", "20")
    if group_size > 1:
        os.environ["HOROVOD_DYNAMIC_PROCESS_SETS"] = "1"
    hvd.init()
    launchers.check_world(os.environ, hvd.size())
    _make_groups(group_size)
    tf.get_logger().setLevel("ERROR")  # Keras' advice to programmers, such as on saving a model without metrics
    threads = threads or own_cores(sorted(os.sched_getaffinity(0)), os.cpu_count() or 1)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    if is_root() and threads * local_size() > (os.cpu_count() or 1):
        print(f"warning: {local_size()} ranks x {threads} threads on a node with {os.cpu_count()} cores", flush=True)
    # Two, so that an input or allreduce operation never waits behind a long convolution; more only fight for cores.
    tf.config.threading.set_inter_op_parallelism_threads(2)
    return Placement(threads=threads, gpu=_own_gpu())


def own_cores(allowed: list, node_cores: int) -> int:
    """How many of the `allowed` cores are this rank's, and bind the process to them.

    A launcher that has already bound each rank to cores of its own (mpirun, srun) leaves local_size * len(allowed)
    cores or fewer than the node has; then all allowed ones are ours. Otherwise the ranks of the node see the same
    cores and each takes a contiguous slice: left to themselves, their thread pools would fight over all of them.
    """
    ranks = local_size()
    if ranks == 1 or ranks * len(allowed) <= node_cores:
        return len(allowed)
    share = max(1, len(allowed) // ranks)
    first = local_rank() * share
    if first + share <= len(allowed):
        os.sched_setaffinity(0, allowed[first : first + share])
    return share


def _make_groups(size_of_group: int) -> None:
    global _group
    ranks = hvd.size()
    if size_of_group == 1:
        return
    if ranks % size_of_group:
        raise UserError(
            f"training.batchnorm_group_size {size_of_group} does not divide the {ranks} ranks: use a divisor, or 1",
            on_all_ranks=True,
        )
    if size_of_group == ranks:
        _group = hvd.global_process_set
        return
    for first in range(0, ranks, size_of_group):
        # A collective call: every rank makes every group, in the same order.
        made = hvd.add_process_set(range(first, first + size_of_group))
        if first <= hvd.rank() < first + size_of_group:
            _group = made


def _own_gpu() -> Optional[str]:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    # Under jsrun and some srun set-ups each rank sees only its own GPU, whatever its local rank.
    if len(gpus) > 1 and local_rank() >= len(gpus):
        raise UserError(
            f"{local_size()} ranks on this node but only {len(gpus)} GPUs: start at most one rank a GPU "
            f"(horovodrun -np {len(gpus)})"
        )
    gpu = gpus[0] if len(gpus) == 1 else gpus[local_rank()]
    tf.config.set_visible_devices(gpu, "GPU")
    tf.config.experimental.set_memory_growth(gpu, True)
    return gpu.name


def _started() -> bool:
    return hvd is not None and hvd.is_initialized()


def rank() -> int:
    return hvd.rank() if _started() else 0


def size() -> int:
    return hvd.size() if _started() else 1


def local_rank() -> int:
    return hvd.local_rank() if _started() else 0


def local_size() -> int:
    return hvd.local_size() if _started() else 1


def nodes() -> int:
    return hvd.cross_size() if _started() else 1


def is_root() -> bool:
    return rank() == 0


def barrier() -> None:
    """Wait until every rank is here."""
    gather_objects(None)


def broadcast_object(value: Result) -> Result:
    """Rank 0's value (anything that can be pickled), on every rank."""
    return hvd.broadcast_object(value, root_rank=0) if size() > 1 else value


def gather_objects(value: Result) -> list:
    """Every rank's value, in rank order, on every rank."""
    return hvd.allgather_object(value) if size() > 1 else [value]


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
        hvd.broadcast_variables(variables, root_rank=0)


def average_over_ranks(tensors: list, compress: bool = False) -> list:
    """Mean over ranks of each tensor, inside a training step. One operation a tensor, so that the exchange of the
    last layers' gradients overlaps the backward pass of the first (Sergeev and Del Balso, arXiv:1802.05799).

    compress: send float16 instead of float32.
    """
    if size() == 1:
        return tensors
    compression = hvd.Compression.fp16 if compress else hvd.Compression.none
    return [hvd.allreduce(tensor, op=hvd.Average, compression=compression) for tensor in tensors]


def average_over_group(tensor: tf.Tensor) -> tf.Tensor:
    """Mean of a tensor over the ranks of this rank's group, differentiable, inside a training step."""
    return tensor if _group is None else hvd.allreduce(tensor, op=hvd.Average, process_set=_group)

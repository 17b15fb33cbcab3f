"""Where a rank runs: its GPU, its share of the node's cores.

Source of the rules on devices and threads: Horovod's guide (one GPU per rank, memory growth on), and our own
measurements of two ranks on two cores (docs/results.md).
"""

import os
from dataclasses import dataclass
from typing import Callable, Optional

from common.distributed import collectives, launchers
from common.errors import UserError


@dataclass(frozen=True)
class Placement:
    """threads: cores that are this rank's own. gpu: its GPU, if it has one."""

    threads: int
    gpu: Optional[str]


def init(threads: int = 0, group_size: Optional[Callable[[int], int]] = None) -> Placement:
    """Start Horovod, give this rank its GPU and its share of the node's cores. Call once, before any TensorFlow op.

    threads: compute threads of this rank; 0 shares the node's cores out evenly over its ranks.
    group_size: from the number of ranks to that of a group for average_over_group, neighbours by number; a divisor.
    Raises UserError if Horovod cannot be used or sees other ranks than were started, or the node has fewer GPUs than
    ranks.
    """
    promise = launchers.promised(os.environ)
    if promise is None or promise.rank == 0:
        print("starting: TensorFlow is loaded, which takes some seconds", flush=True)
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        # Milliseconds between Horovod's looks at what is ready to be exchanged. Its default of 1 suits GPUs; on a CPU
        # those looks take 8 % of a core from the computation (`make bench`, row "two ranks").
        os.environ.setdefault("HOROVOD_CYCLE_TIME", "20")
    collectives.connect(group_size)
    tf.get_logger().setLevel("ERROR")  # Keras' advice to programmers, such as on saving a model without metrics
    node_cores = os.cpu_count() or 1
    threads = threads or own_cores(sorted(os.sched_getaffinity(0)), node_cores)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    if collectives.is_root() and threads * collectives.local_size() > node_cores:
        print(f"warning: {collectives.local_size()} ranks x {threads} threads on a node with {node_cores} cores")
    # Two, so that an input or allreduce operation never waits behind a long convolution; more only fight for cores.
    tf.config.threading.set_inter_op_parallelism_threads(2)
    return Placement(threads=threads, gpu=_own_gpu())


def own_cores(allowed: list[int], node_cores: int) -> int:
    """How many of the `allowed` cores are this rank's, and bind the process to them.

    A launcher that has already bound each rank to cores of its own (mpirun, srun) leaves local_size * len(allowed)
    cores or fewer than the node has; then all allowed ones are ours. Otherwise the ranks of the node see the same
    cores and each takes a contiguous slice: left to themselves, their thread pools would fight over all of them.
    """
    ranks = collectives.local_size()
    if ranks == 1 or ranks * len(allowed) <= node_cores:
        return len(allowed)
    share = max(1, len(allowed) // ranks)
    first = collectives.local_rank() * share
    if first + share <= len(allowed):
        os.sched_setaffinity(0, allowed[first : first + share])
    return share


def _own_gpu() -> Optional[str]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    ranks, own = collectives.local_size(), collectives.local_rank()
    # Under jsrun and some srun set-ups each rank sees only its own GPU, whatever its local rank.
    if len(gpus) > 1 and own >= len(gpus):
        raise UserError(
            f"{ranks} ranks on this node but only {len(gpus)} GPUs: start at most one rank per GPU "
            f"(horovodrun -np {len(gpus)})"
        )
    gpu = gpus[0] if len(gpus) == 1 else gpus[own]
    tf.config.set_visible_devices(gpu, "GPU")
    tf.config.experimental.set_memory_growth(gpu, True)
    return gpu.name

"""Where a rank runs: its GPU, its share of the node's cores.

Source of the rules on devices and threads: Horovod's guide (one GPU per rank, memory growth on), and our own
measurements of two ranks on two cores (docs/results.md).
"""

import os
from dataclasses import dataclass
from typing import Callable, Optional

from common.distributed import collectives, cores, gpu_environment, gpus, launchers, tensorflow_version
from common.errors import UserError


@dataclass(frozen=True)
class Placement:
    """threads: cores that are this rank's own. gpu: its GPU, if it has one. devices: those of all ranks, in words."""

    threads: int
    gpu: Optional[str]
    devices: str = "CPUs"


def init(
    threads: int = 0,
    group_size: Optional[Callable[[int], int]] = None,
    *,
    uses_gpu: bool = True,
    at_once: int = 2,
) -> Placement:
    """Start Horovod, give this rank its GPU and its share of the node's cores. Call once, before any TensorFlow op.

    threads: compute threads of this rank; 0 shares the node's cores out evenly over its ranks.
    group_size: from the number of ranks to that of a group for average_over_group, neighbours by number; a divisor.
    uses_gpu: False for what reads and writes files only; any number of its ranks may run where there are GPUs.
    at_once: operations that run at once on CPUs. Two in training, so that an allreduce never waits behind a long
    convolution; in inference one, if batches come one by one: two convolutions would only fight for caches.
    Raises UserError for a TensorFlow that is not supported, if Horovod cannot be used or sees other ranks than were
    started, or if a rank has no GPU of its own on a node with GPUs.
    """
    launchers.check_variables(os.environ)
    promise = launchers.promised(os.environ)
    if promise is None or promise.rank == 0:
        print("starting: TensorFlow is loaded, which takes some seconds", flush=True)
    if uses_gpu:
        gpu_environment.prepare(os.environ)
    import tensorflow as tf

    tensorflow_version.check()
    if not uses_gpu:
        tf.config.set_visible_devices([], "GPU")
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    if not has_gpu and not _shares_statistics(promise, group_size):
        # Milliseconds between Horovod's looks at what is ready to be exchanged. Its default of 1 suits GPUs; on a CPU
        # those looks take 8 % of a core from the computation (`make bench`, row "two ranks"). With groups every batch
        # norm waits for the next look twice a step, one after the other.
        os.environ.setdefault("HOROVOD_CYCLE_TIME", "20")
    collectives.connect(group_size)
    tf.get_logger().setLevel("ERROR")  # Keras' advice to programmers, such as on saving a model without metrics
    node_cores = os.cpu_count() or 1
    shares_out = not threads
    threads = threads or cores.own_threads(sorted(os.sched_getaffinity(0)), node_cores)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    if collectives.is_root() and threads * collectives.local_size() > node_cores:
        print(f"warning: {collectives.local_size()} ranks x {threads} threads on a node with {node_cores} cores")
    tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads(threads, at_once, gpu=has_gpu and uses_gpu))
    placement = _with_gpus(threads) if uses_gpu else Placement(threads, None)
    _say_cores(warn=shares_out)  # not before: to ask the others starts the devices, after which nothing can be set
    return placement


def _say_cores(*, warn: bool) -> None:
    """Rank 0 says how many cores the ranks have. warn: and what looks wrong with that. Collective."""
    ranks = collectives.gather_objects(cores.look(os.environ))
    if collectives.is_root():
        print("\n".join([f"cores: {cores.describe(ranks)}", *(cores.problems(ranks) if warn else [])]), flush=True)


def _with_gpus(threads: int) -> Placement:
    """This rank's placement, once no two ranks have one GPU and none computes on a CPU by mistake. Collective."""
    gpu, problem = None, None
    try:
        gpu = _own_gpu()
    except UserError as error:
        problem = error
    collectives.raise_together(problem)
    everyone = collectives.gather_objects(gpu and gpu[1])
    shared = gpus.twice_used(everyone)
    if shared:
        raise shared
    warning = gpus.difference(everyone)
    if warning and collectives.is_root():
        print(warning)
    return Placement(
        threads, gpu[0] if gpu else None, gpus.describe(everyone) + ("" if gpu else gpus.unused(os.environ))
    )


def _shares_statistics(promise: Optional[launchers.Promise], group_size: Optional[Callable[[int], int]]) -> bool:
    """Whether there will be groups of several ranks, as far as that is known before Horovod has started."""
    if promise is None or group_size is None:
        return False
    try:
        return group_size(promise.ranks) > 1
    except UserError:  # raised again once all ranks can
        return False


def cycle_ms() -> float:
    """Milliseconds between Horovod's looks at what is ready to be exchanged."""
    return float(os.environ.get("HOROVOD_CYCLE_TIME", "1"))


def inter_op_threads(threads: int, at_once: int, *, gpu: bool) -> int:
    """Operations that run at once, for a rank with so many cores; at_once: on CPUs.

    With a GPU they only start its kernels, and a core each is TensorFlow's own choice. Reading has threads of its own.
    """
    return max(threads, 2) if gpu else at_once


def _own_gpu() -> Optional[tuple[str, gpus.Gpu]]:
    """TensorFlow's name of it, and what others need to know of it. Raises UserError."""
    import tensorflow as tf

    seen = tf.config.list_physical_devices("GPU")
    if not seen:
        error = gpus.unseen(os.environ)
        if error:
            raise error
        return None
    ranks, own = collectives.local_size(), collectives.local_rank()
    # Under jsrun and some srun set-ups each rank sees only its own GPU, whatever its local rank.
    if len(seen) > 1 and own >= len(seen):
        raise UserError(
            f"{ranks} ranks on this node but only {len(seen)} GPUs: start at most one rank per GPU "
            f"(horovodrun -np {len(seen)})"
        )
    gpu = seen[0] if len(seen) == 1 else seen[own]
    tf.config.set_visible_devices(gpu, "GPU")
    tf.config.experimental.set_memory_growth(gpu, True)
    return gpu.name, gpus.look(gpu, len(seen))

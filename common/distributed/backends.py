"""What ranks are found and exchanged with: an interface, one rank alone, and Horovod.

`common.distributed.collectives` calls whichever is in use; nothing else does. A backend on other collectives is one
more class with these methods.
"""

import os
from typing import TYPE_CHECKING, Any, Callable, Optional, Protocol, TypeVar

from common import resources
from common.distributed import launchers
from common.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

Result = TypeVar("Result")


class Backend(Protocol):
    """The ranks of a program. Every method but the numbers is a collective call.

    Attributes:
        rank, size: this rank's number, and how many there are.
        local_rank, local_size: the same among the ranks of this node.
        nodes: how many there are.
        group_size: ranks that average_over_group averages over.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    nodes: int
    group_size: int

    def broadcast_object(self, value: Result) -> Result:
        """Return rank 0's value, anything that can be pickled."""

    def gather_objects(self, value: Result) -> list[Result]:
        """Return every rank's value, in rank order."""

    def broadcast_variables(self, variables: list) -> None:
        """Give every rank rank 0's values of these tf.Variables."""

    def average(self, tensors: list, *, compress: bool) -> list:
        """Return each float32 tensor's mean over ranks, inside a training step. compress: sent as float16."""

    def average_over_group(self, tensor: "tf.Tensor") -> "tf.Tensor":
        """Return the mean over this rank's group, differentiable, inside a training step."""


class OneRank:
    """A program without a launcher: every collective is the identity."""

    rank = local_rank = 0
    size = local_size = nodes = group_size = 1

    def broadcast_object(self, value: Result) -> Result:
        return value

    def gather_objects(self, value: Result) -> list[Result]:
        return [value]

    def broadcast_variables(self, variables: list) -> None:
        pass

    def average(self, tensors: list, *, compress: bool) -> list:
        return tensors

    def average_over_group(self, tensor: "tf.Tensor") -> "tf.Tensor":
        return tensor


def without_horovod(group_size: Optional[Callable[[int], int]]) -> OneRank:
    """Say that Horovod is not installed, and go on with one rank.

    Args:
        group_size: as HorovodRanks takes it.

    Returns:
        The one rank.

    Raises:
        UserError: on the first rank, if a launcher started several; SystemExit on the others.
    """
    promise = launchers.promised(os.environ)
    if promise is not None and promise.ranks > 1:
        if promise.rank > 0:
            raise SystemExit(1)
        raise UserError(
            f"{promise.launcher} started {promise.ranks} ranks, and Horovod, by which they work together, is not "
            f"installed: run {resources.JOBS / 'horovod.sh'} in this environment, or start one rank"
        )
    if group_size:
        _check_group(1, group_size(1))
    print("note: Horovod is not installed: one rank", flush=True)
    return OneRank()


def _check_group(ranks: int, size: int) -> None:
    if ranks % size:
        raise UserError(
            f"{ranks} ranks cannot be divided into groups of {size}: use a divisor, or 1", on_all_ranks=True
        )


class HorovodRanks:
    """Ranks that Horovod has found. One operation a tensor, so that the exchange of the last layers' gradients overlaps
    the backward pass of the first (Sergeev and Del Balso, arXiv:1802.05799)."""

    def __init__(self, group_size: Optional[Callable[[int], int]] = None):
        """Load Horovod, and TensorFlow with it, and find the other ranks.

        Args:
            group_size: from the number of ranks to that in a group for average_over_group, a divisor of it.

        Raises:
            UserError: if Horovod cannot be used, or sees other ranks than the launcher started.
        """
        try:
            import horovod.tensorflow as hvd
        except ImportError as problem:
            raise UserError(
                f"Horovod cannot be used with this TensorFlow ({problem}): it was not compiled against it. "
                "Run `make venv` again, or install it as docs/how-to/install.md says under 'By hand'"
            ) from problem
        if group_size:
            os.environ["HOROVOD_DYNAMIC_PROCESS_SETS"] = "1"
        hvd.init()
        launchers.check_world(os.environ, hvd.size())
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size, self.nodes = hvd.local_rank(), hvd.local_size(), hvd.cross_size()
        self._group = self._make_groups(group_size(self.size)) if group_size else None
        self.group_size = 1 if self._group is None else self._group.size()

    def _make_groups(self, size: int) -> Any:
        """This rank's process set; None where every rank is a group of its own."""
        if size == 1:
            return None
        _check_group(self.size, size)
        if size == self.size:
            return self._hvd.global_process_set
        # A collective call: every rank makes every group, in the same order.
        groups = [self._hvd.add_process_set(range(first, first + size)) for first in range(0, self.size, size)]
        return groups[self.rank // size]

    def broadcast_object(self, value: Result) -> Result:
        with self._on_the_host():
            return self._hvd.broadcast_object(value, root_rank=0)

    def gather_objects(self, value: Result) -> list[Result]:
        with self._on_the_host():
            return self._hvd.allgather_object(value)

    def _on_the_host(self) -> Any:
        """For what is no tensor of the step: it has no way to make through a GPU, and if two ranks should have one GPU,
        they can tell each other before NCCL finds out."""
        import tensorflow as tf

        return tf.device("/CPU:0")

    def broadcast_variables(self, variables: list) -> None:
        self._hvd.broadcast_variables(variables, root_rank=0)

    def average(self, tensors: list, *, compress: bool) -> list:
        hvd = self._hvd
        if compress:  # divided before the sum, which many ranks' float16 would overflow
            parts = [tensor / self.size for tensor in tensors]
            return [hvd.allreduce(part, op=hvd.Sum, compression=hvd.Compression.fp16) for part in parts]
        return [hvd.allreduce(tensor, op=hvd.Average) for tensor in tensors]

    def average_over_group(self, tensor: "tf.Tensor") -> "tf.Tensor":
        if self._group is None:
            return tensor
        return self._hvd.allreduce(tensor, op=self._hvd.Average, process_set=self._group)

"""Ranks: who am I, how many are we, and the collective operations that everything else needs.

The only room that imports Horovod. Call `init` first (TensorFlow is loaded then); without it, or without a launcher,
there is one rank and every collective is the identity.
"""

from common.distributed.collectives import (
    average_over_group,
    average_over_ranks,
    barrier,
    broadcast_object,
    broadcast_variables,
    check_same,
    gather_objects,
    group_ranks,
    is_root,
    local_rank,
    local_size,
    nodes,
    on_root,
    raise_together,
    rank,
    size,
    sum_over_ranks,
)
from common.distributed.placement import Placement, cycle_ms, init

__all__ = [
    "Placement",
    "average_over_group",
    "average_over_ranks",
    "barrier",
    "broadcast_object",
    "broadcast_variables",
    "check_same",
    "cycle_ms",
    "gather_objects",
    "group_ranks",
    "init",
    "is_root",
    "local_rank",
    "local_size",
    "nodes",
    "on_root",
    "raise_together",
    "rank",
    "size",
    "sum_over_ranks",
]

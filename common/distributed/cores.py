"""The ranks' cores: each its own share of its node's, or it is said.

Cores are counted as the processor has them: two hardware threads of one are one core. Sources: the process's affinity
mask and /sys/devices/system/cpu (Linux' Documentation/ABI/stable/sysfs-devices-system-cpu).
"""

import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from common.distributed import collectives

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


class Cores(NamedTuple):
    """What a rank may use. own: its cores, by their first hardware thread. node: number of those of its node that are
    the job's, as far as that is known."""

    host: str
    own: tuple[int, ...]
    node: int


def own_threads(allowed: list[int], node_cores: int) -> int:
    """How many of the `allowed` hardware threads are this rank's, and bind the process to them.

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


def look(environment: Mapping) -> Cores:
    """This process's cores as it is bound now."""
    threads = os.cpu_count() or 1
    node = len(_physical(range(threads)))
    jobs = environment.get("SLURM_CPUS_ON_NODE", "")  # in hardware threads
    if jobs.isdigit():
        node = min(node, -(-int(jobs) * node // threads))
    return Cores(socket.gethostname(), _physical(os.sched_getaffinity(0)), node)


def describe(ranks: list[Cores]) -> str:
    """Such as `4 of 64 a rank on 2 nodes`, or the range where ranks have different numbers."""
    own = sorted({len(rank.own) for rank in ranks})
    node = sorted({rank.node for rank in ranks})
    hosts = len({rank.host for rank in ranks})
    return f"{_range(own)} of {_range(node)} a rank on {hosts} node{'s' * (hosts > 1)}"


def problems(ranks: list[Cores]) -> list[str]:
    """Warnings: cores that ranks share, and cores that no rank uses though each could have one more."""
    sharing, idle = [], []
    for host in dict.fromkeys(rank.host for rank in ranks):
        here = [rank for rank in ranks if rank.host == host]
        users = Counter(core for rank in here for core in rank.own)
        shared = sum(count > 1 for count in users.values())
        if shared:
            sharing.append(f"{len(here)} ranks on {host} share {shared} of its {here[0].node} cores")
        elif here[0].node - len(users) >= len(here):
            idle.append(f"{here[0].node - len(users)} of the {here[0].node} cores of {host} are used by no rank")
    return [
        f"warning: {cases[0]}{_others(len(cases) - 1)}: {remedy}"
        for cases, remedy in (
            (sharing, "start fewer, or bind each to cores of its own (srun --cpu-bind=cores, mpirun --bind-to none)"),
            (
                idle,
                "if they are the job's, give each rank more (--cpus-per-task, which Slurm 22.05 and newer hand on to "
                "srun only as SRUN_CPUS_PER_TASK)",
            ),
        )
        if cases
    ]


def _others(nodes: int) -> str:
    return f", and so on {nodes} other nodes" if nodes else ""


def _range(numbers: list[int]) -> str:
    return "-".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))


def _physical(threads: Iterable[int]) -> tuple[int, ...]:
    """The cores of these hardware threads, each once."""
    return tuple(sorted({_first_sibling(thread) for thread in threads}))


def _first_sibling(thread: int) -> int:
    """The first hardware thread of its core; itself where the system does not tell."""
    try:
        text = Path(_TOPOLOGY.format(thread)).read_text(encoding="ascii")
        return int(text.replace("-", ",").split(",")[0])
    except (OSError, ValueError):
        return thread

"""Which cores are a rank's, and what is said where ranks share or leave some."""

import os

import pytest

from common.distributed import collectives, cores
from common.distributed.cores import Cores, describe, problems


def node(host: str, *own: tuple, of: int) -> list:
    return [Cores(host, cpus, of) for cpus in own]


def test_ranks_with_cores_of_their_own_are_described_and_no_problem():
    ranks = [*node("a", (0, 1), (2, 3), of=4), *node("b", (0, 1), (2, 3), of=4)]
    assert describe(ranks) == "2 of 4 a rank on 2 nodes"
    assert problems(ranks) == []
    uneven = node("a", (0, 1, 2), (3,), of=4)
    assert describe(uneven) == "1-3 of 4 a rank on 1 node"


def test_shared_cores_are_said_once_for_all_nodes():
    ranks = [rank for host in "abc" for rank in node(host, (0, 1), (1, 2), of=3)]
    (line,) = problems(ranks)
    assert line.startswith(
        "warning: 2 ranks on a share 1 of its 3 cores, and so on 2 other nodes: start fewer, or bind"
    )


def test_idle_cores_are_said_where_each_rank_could_have_one_more():
    assert problems(node("a", (0,), (1,), of=3)) == []
    (line,) = problems(node("a", (0,), (1,), of=16))
    assert line.startswith("warning: 14 of the 16 cores of a are used by no rank: if they are the job's")
    assert "SRUN_CPUS_PER_TASK" in line


@pytest.mark.parametrize(("siblings", "expected"), [("0-1\n2-3\n", (0, 2)), ("0,2\n1,3\n", (0, 1))])
def test_two_hardware_threads_are_one_core(tmp_path, monkeypatch, siblings, expected):
    first, second = siblings.splitlines()
    pairs = {0: first, 1: first if "-" in first else second, 2: second if "-" in first else first, 3: second}
    for thread, text in pairs.items():
        (tmp_path / f"{thread}").write_text(f"{text}\n")
    monkeypatch.setattr(cores, "_TOPOLOGY", f"{tmp_path}/{{}}")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert cores.look({})[1:] == (expected, 2)
    assert cores.look({"SLURM_CPUS_ON_NODE": "2"}).node == 1  # of a shared node


@pytest.mark.parametrize(
    ("ranks", "own", "allowed", "threads", "bound"),
    [
        (1, 0, range(4), 4, None),
        (2, 1, range(4), 2, [2, 3]),  # nobody has bound them: a slice each
        (2, 1, range(2), 2, None),  # the launcher has
        (3, 2, range(2), 1, None),  # more ranks than cores: they share
    ],
)
def test_ranks_share_out_what_no_launcher_has(monkeypatch, ranks, own, allowed, threads, bound):
    calls: list = [None]
    monkeypatch.setattr(collectives, "local_size", lambda: ranks)
    monkeypatch.setattr(collectives, "local_rank", lambda: own)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: calls.append(cpus))
    assert cores.own_threads(list(allowed), 4 if ranks < 3 else 2) == threads
    assert calls[-1] == bound

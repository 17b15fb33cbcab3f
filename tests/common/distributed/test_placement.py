"""What is set before Horovod starts."""

import pytest

from common.distributed.launchers import Promise
from common.distributed.placement import _shares_statistics, cycle_ms
from common.errors import UserError


def refuse(ranks: int) -> int:
    raise UserError("no divisor")


@pytest.mark.parametrize(
    ("ranks", "group_size", "expected"),
    [(None, lambda ranks: 2, False), (4, None, False), (4, lambda ranks: ranks, True), (4, lambda ranks: 1, False)],
)
def test_horovod_looks_often_only_where_ranks_share_statistics(ranks, group_size, expected):
    promise = Promise("srun", "SLURM_STEP_NUM_TASKS", ranks, 0) if ranks else None
    assert _shares_statistics(promise, group_size) is expected
    assert _shares_statistics(promise, refuse) is False


def test_the_cycle_is_horovod_s_own_unless_it_is_set(monkeypatch):
    monkeypatch.delenv("HOROVOD_CYCLE_TIME", raising=False)
    assert cycle_ms() == 1.0
    monkeypatch.setenv("HOROVOD_CYCLE_TIME", "2.5")
    assert cycle_ms() == 2.5

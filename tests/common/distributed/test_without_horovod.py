"""Where Horovod is not installed a program goes on alone, unless a launcher started several ranks."""

import importlib.util

import pytest

from common.distributed import collectives
from common.errors import UserError


@pytest.fixture(autouse=True)
def _no_horovod(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("HOROVOD_SIZE", "HOROVOD_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("ranks", [None, "1"])
def test_one_rank_goes_on_and_says_so_once(ranks, monkeypatch, capsys):
    if ranks:
        monkeypatch.setenv("HOROVOD_SIZE", ranks)
    collectives.connect(lambda ranks: 1)
    assert capsys.readouterr().out == "note: Horovod is not installed: one rank\n"
    assert (collectives.rank(), collectives.size()) == (0, 1)


def test_several_ranks_are_refused_by_the_first_of_them(monkeypatch):
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    monkeypatch.setenv("HOROVOD_RANK", "0")
    with pytest.raises(UserError, match=r"horovodrun started 2 ranks, and Horovod, .* is not installed: .*horovod\.sh"):
        collectives.connect()
    monkeypatch.setenv("HOROVOD_RANK", "1")
    with pytest.raises(SystemExit):
        collectives.connect()


def test_a_group_that_one_rank_cannot_be_divided_into_is_refused():
    with pytest.raises(UserError, match="1 ranks cannot be divided into groups of 4"):
        collectives.connect(lambda ranks: 4)

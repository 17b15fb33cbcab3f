"""A start that was killed leaves nothing that refuses the repeat; real processes and kill -9."""

import os
import signal
import warnings
from typing import Callable

import pytest

from common.distributed import status
from common.errors import UserError
from common.runs import new_folder
from common.runs.folder import Run
from common.runs.mlperf import Log
from common.session import Session
from tests.common.runs.test_folder import closed, open_run


def killed(folder, *, then: Callable[[Run], object] = lambda run: None, append: Callable = new_folder.append) -> None:
    """A process that starts a run, does something with it, and is killed by kill -9."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking a process with threads: the child needs none
        process = os.fork()
    if process == 0:
        new_folder.append = append
        then(open_run(folder, "output.run_name=mine"))
        kill()
    assert os.waitpid(process, 0)[1] == signal.SIGKILL


def kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_killed_before_its_first_files_are_there_it_has_no_name_yet(tmp_path):
    killed(tmp_path, append=kill)
    assert names(tmp_path) == []
    assert open_run(tmp_path, "output.run_name=mine").path == tmp_path / "mine"


def test_killed_before_the_timed_part_it_is_moved_aside(tmp_path, capsys):
    killed(tmp_path)
    (tmp_path / "mine" / "note").write_text("of the first")
    assert open_run(tmp_path, "output.run_name=mine").path == tmp_path / "mine"
    assert (tmp_path / "mine.1" / "note").read_text() == "of the first"
    assert "was left by a start that was killed before its timed part" in capsys.readouterr().out


@pytest.mark.parametrize("has", ["begun", "a checkpoint"])
def test_killed_later_it_is_left_as_it_is(tmp_path, has):
    checkpoint = tmp_path / "mine" / "checkpoints" / "step-00000001"
    killed(tmp_path, then=lambda run: run.begin() if has == "begun" else checkpoint.mkdir(parents=True))
    with pytest.raises(UserError, match="mine: exists already and is left as it is"):
        open_run(tmp_path, "output.run_name=mine")
    assert names(tmp_path) == ["mine"]


def test_a_start_that_is_still_alive_is_left_alone(tmp_path):
    first = open_run(tmp_path, "output.run_name=mine")
    with pytest.raises(UserError, match="another process is running in this folder"):
        open_run(tmp_path, "output.run_name=mine")
    assert (first / "config.yaml").is_file()
    assert names(tmp_path) == ["mine"]


def test_a_launcher_knows_the_folder_at_once_and_that_it_was_discarded(tmp_path, monkeypatch):
    monkeypatch.setenv(status.VARIABLE, str(tmp_path))
    run = open_run(tmp_path / "runs", "output.run_name=mine")
    assert status.read_status(tmp_path).run_folder == str(tmp_path / "runs" / "mine")
    closed(run).discard()
    assert status.read_status(tmp_path).run_folder == ""
    assert names(tmp_path / "runs") == []


@pytest.mark.parametrize("resumable", [True, False])
def test_a_failure_in_the_timed_part_of_what_cannot_be_resumed_leaves_nothing_of_use(tmp_path, resumable):
    session = Session(open_run(tmp_path, "output.run_name=mine"), Log(None), 1)
    with pytest.raises(UserError, match="no clouds"), session.timed(resumable=resumable):
        raise UserError("no clouds")
    assert session.began == resumable  # otherwise open_session discards the folder
    assert (session.run / new_folder.STARTING).exists() != resumable


def test_what_cannot_be_resumed_is_kept_once_it_is_done(tmp_path):
    session = Session(open_run(tmp_path, "output.run_name=mine"), Log(None), 1)
    with session.timed(resumable=False):
        pass
    assert session.began
    assert not (session.run / new_folder.STARTING).exists()


def test_a_name_that_is_taken_at_the_last_moment_is_not_replaced(tmp_path, monkeypatch):
    """Another process makes the folder after this one has looked."""
    rename = os.rename

    def late(old, new) -> None:
        if new == tmp_path / "mine":
            new.mkdir()
            (new / "theirs").touch()
        rename(old, new)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(UserError, match="mine: exists already"):
        new_folder.create(tmp_path, "mine", "", {})
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "theirs"]

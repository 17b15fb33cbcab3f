"""A folder in which a process works is never touched by another: real processes, killed, and without locks."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from common.errors import UserError
from common.runs import files, locks
from tests.common.data.test_storage import NO_LOCKS, preloaded
from tests.helpers import ROOT, environment

HOLD = """
import sys, time
from pathlib import Path
from common.runs import locks
lock = locks.lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that locks a folder, with other variables; it is killed in the end."""
    processes = []

    def start(folder, **variables) -> subprocess.Popen:
        words = [sys.executable, "-c", HOLD, str(folder)]
        process = subprocess.Popen(words, env=environment(**variables), stdout=subprocess.PIPE, cwd=ROOT)
        processes.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path, holder):
    process = holder(tmp_path)
    with pytest.raises(UserError, match="another process is running in this folder"):
        locks.lock(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    locks.lock(tmp_path).release()
    assert (tmp_path / ".lock").read_bytes() == b""


def test_a_living_run_s_folder_is_not_moved_aside(tmp_path, holder):
    folder = tmp_path / "run"
    folder.mkdir()
    process = holder(folder)
    with pytest.raises(UserError, match="run: another process is running in this folder"):
        files.move_aside(folder)
    assert folder.is_dir()
    process.kill()
    process.wait()
    assert files.move_aside(folder) == tmp_path / "run.1"


def test_where_there_are_no_locks_a_living_process_of_this_host_is_known(tmp_path, holder):
    """The file system refuses flock in both processes, as Lustre does that is mounted without it."""
    library = preloaded(tmp_path, NO_LOCKS)
    folder = tmp_path / "run"
    folder.mkdir()
    process = holder(folder, **library)
    program = "import sys; from pathlib import Path; from common.runs import files; files.move_aside(Path(sys.argv[1]))"
    words = [sys.executable, "-c", program, str(folder)]
    tried = subprocess.run(words, env=environment(**library), capture_output=True, text=True, cwd=ROOT)
    assert "another process is running in this folder" in tried.stderr
    assert folder.is_dir()
    process.kill()
    process.wait()
    assert subprocess.run(words, env=environment(**library), capture_output=True, cwd=ROOT).returncode == 0
    assert (tmp_path / "run.1").is_dir()


def test_where_there_are_no_locks_another_host_s_folder_is_resumed_but_not_moved(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    (tmp_path / ".lock").write_text("node7 123 1.00")
    with pytest.raises(UserError, match=r"a process on node7 may be running in this folder.*; if it has ended, remove"):
        locks.lock(tmp_path, sure=True)
    locks.lock(tmp_path).release()
    assert socket.gethostname() != "node7"


def test_who_waits_for_a_folder_that_is_moved_meanwhile_gets_the_new_one(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    first = locks.lock(folder)

    def replace() -> None:
        folder.rename(tmp_path / "old")
        folder.mkdir()
        first.release()

    with locks.lock(folder, wait=replace), pytest.raises(UserError, match="another process is running"):
        locks.lock(folder)
    locks.lock(tmp_path / "old").release()

"""common.run: a program on two ranks that ends with one line of its own and its own exit code."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from common.distributed import status
from common.launching import run as launcher
from tests.helpers import ROOT, TINY, command, environment, is_program, processes_with, run, write_scenes


def test_one_mistake_is_one_line_and_the_program_s_exit_code():
    output = run("-m", "common.run", "-np", 2, "--", "cloudmask", "train", "data.train_dir=/nowhere")
    assert output.returncode == 1
    assert output.stdout.splitlines()[-1] == "error: /nowhere: no such folder (rank 0 of 2)"
    assert "Traceback" not in output.stdout
    assert len([line for line in output.stdout.splitlines() if line.startswith("error: ")]) == 1


def test_a_program_that_exits_by_itself_is_not_said_to_lack_memory():
    output = run("-m", "common.run", "-np", 2, "--", "nosuch", "train")
    assert output.returncode == 1
    last = output.stdout.splitlines()[-1]
    assert "ended with exit code 1 without a message" in last
    assert last.endswith("; the other ranks were stopped (see what it printed above)")


@pytest.mark.parametrize(("code", "peers_lost", "rank"), [(1, False, 1), (1, True, None), (137, True, 1)])
def test_a_rank_that_ended_because_its_peers_had_gone_is_not_the_lost_one(code, peers_lost, rank):
    output = launcher.Output()
    output.dead_rank, output.dead_code = 1, code
    endings = [status.Ending(0, "peer_lost", "", 1)] if peers_lost else []
    assert launcher._lost_rank(output, endings) == rank


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> tuple:
    folder = tmp_path_factory.mktemp("run")
    write_scenes(folder / "scenes", 5)
    settings = [*TINY, f"data.train_dir={folder}/scenes", f"output.folder={folder}/runs", "training.epochs=400"]
    return folder, ["-m", "common.run", "-np", "2", "--", "cloudmask", "train", *settings]


def started(folder: Path, words: list, name: str) -> subprocess.Popen:
    process = subprocess.Popen(
        command(*words, f"output.run_name={name}"),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell lets what it starts in the background ignore Ctrl-C, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list((folder / "runs" / name).glob("checkpoints/step-*")):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(training):
    folder, words = training
    with started(folder, words, "interrupted") as process:
        os.killpg(process.pid, signal.SIGINT)
        for rank in filter(is_program, processes_with(f"{folder}/runs")):
            os.kill(rank, signal.SIGINT)  # as a terminal does to all of its foreground
        output = process.communicate(timeout=100)[0]
    assert process.returncode == 130
    again = f"python -m common.run -np 2 -- cloudmask train --resume {folder}/runs/interrupted"
    assert output.splitlines()[-1].endswith(f"stopped by Ctrl-C; to resume from its last checkpoint: {again}")


@pytest.mark.slow
def test_a_killed_rank_is_named_with_its_host(training):
    folder, words = training
    with started(folder, words, "killed") as process:
        ranks = [rank for rank in filter(is_program, processes_with("output.run_name=killed"))]
        programs = [
            rank for rank in ranks if b"cloudmask" in Path(f"/proc/{rank}/cmdline").read_bytes().split(b"\0")[2]
        ]
        os.kill(programs[-1], signal.SIGKILL)
        output = process.communicate(timeout=100)[0]
    assert process.returncode == 1
    assert "was killed by SIGKILL without a message" in output.splitlines()[-1]
    assert f"on {os.uname().nodename} " in output.splitlines()[-1]


def test_prefixes_noise_and_endings_are_left_out(capsys):
    output = launcher.Output()
    for line in (
        "[0]<stdout>:run folder: runs/x",
        "[1]<stderr>:[2026-11-21 23:41:15. 34166: E /tmp/horovod/common/operations.cc:697] [1]: loop",
        "[1]<stderr>:stopped: another rank failed; its message says why",
        "[0]<stderr>:error: no room",
        "Traceback (most recent call last):",
        "Process name: 3",
        "Exit code: 137",
        "Process name: 4",
    ):
        output.take(line)
    assert capsys.readouterr().out == "run folder: runs/x\n"
    assert output.last_lines == ["stopped: another rank failed; its message says why", "error: no room"]
    assert (output.dead_rank, output.dead_code) == (3, 137)
    assert launcher.dead(3, 137, "a:2,b:2") == "rank 3 on b was killed by SIGKILL without a message"
    assert launcher.dead(0, 3, "a") == "rank 0 on a ended with exit code 3 without a message"


def test_a_rank_that_raises_says_so_last(tmp_path):
    """A fault of the program's: its traceback, and a last line that points there."""
    (tmp_path / "faulty.py").write_text(
        "from common import distributed\n"
        "from common.cli.program import run_program\n"
        "def main():\n"
        "    distributed.init(uses_gpu=False)\n"
        "    if distributed.rank() == 1:\n"
        "        raise TypeError('no such thing')\n"
        "    distributed.barrier()\n"
        "run_program(main)\n"
    )
    output = run("-m", "common.run", "-np", 2, "--", "faulty", cwd=tmp_path)
    assert output.returncode == 1
    assert "Traceback" in output.stdout
    last = "error: rank 1 failed, see its traceback above (TypeError: no such thing)"
    assert output.stdout.splitlines()[-1] == last
    assert list(tmp_path.glob(".run-status-*")) == []


def test_slots_beyond_the_ranks_are_not_started(tmp_path):
    (tmp_path / "sizes.py").write_text(
        "from common import distributed\n"
        "distributed.init(uses_gpu=False)\n"
        "distributed.is_root() and print('ranks:', distributed.size())\n"
    )
    output = run("-m", "common.run", "-np", 2, "-H", "localhost:3", "--", "sizes", cwd=tmp_path)
    assert "ranks: 2" in output.stdout.splitlines()

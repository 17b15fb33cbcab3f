"""Recovery: which endings are a loss, on what a program is started again, when it is not, and a killed rank."""

import fcntl
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from common.distributed.status import Ending
from common.errors import InterruptedTrainingError, UserError
from common.launching import hosts as hosts_of
from common.launching import recovery
from common.launching.recovery import Recovery, Start
from common.training import checkpoints
from common.training.settings import most_ranks
from tests.helpers import TINY, command, environment, is_program, processes_with, records, run, write_scenes

THREE = "node1:2,node2:2,node3:2"


def ending(kind: str, code: int = 1) -> Ending:
    return Ending(0, kind, f"{kind}: why", code)


@pytest.mark.parametrize(
    ("endings", "dead_code", "lost"),
    [
        ([], 137, True),  # kill -9, as a shell tells it
        ([ending("peer_lost")], -9, True),
        ([], 139, True),  # a segmentation fault
        ([ending("peer_lost")], 1, True),  # all that are left say that another has gone
        ([], 255, True),  # ssh
        ([ending("error"), ending("peer_lost")], 1, False),
        ([ending("interrupted", 130), ending("peer_lost")], 130, False),
        ([ending("stopped", 75)], 75, False),  # a warning of the scheduler
        ([ending("peer_lost"), ending("fault")], 1, False),  # a fault of the program's
        ([ending("peer_lost")], 130, False),
        ([ending("peer_lost")], 143, False),
        ([], 3, False),
        ([], None, False),
    ],
)
def test_which_endings_are_a_loss(endings, dead_code, lost):
    assert recovery.was_lost(endings, dead_code) == lost


def test_a_mistake_explains_more_than_a_fault_and_both_more_than_a_lost_peer():
    told = [ending("peer_lost"), ending("fault"), ending("error")]
    assert recovery.explanation(told) == told[2]
    assert recovery.explanation(told[:2]) == told[1]
    assert recovery.explanation(told[:1]) is None


@pytest.mark.parametrize(
    ("hosts", "ranks", "cut"),
    [("localhost:3", 2, "localhost:2"), ("a:4,b:6", 10, "a:4,b:6"), ("a:4,b:6", 5, "a:4,b:1"), ("a:2,b", 2, "a:2")],
)
def test_as_many_slots_as_ranks_are_started(hosts, ranks, cut):
    """horovodrun over Gloo starts a rank on each slot, whatever -np says."""
    assert hosts_of.cut_slots(hosts, ranks) == cut
    assert hosts_of.cut_slots("", ranks) == ""


def test_fewer_slots_than_ranks_are_refused():
    with pytest.raises(UserError, match=r"-H a:1,b:1: has 2 slots for 3 ranks"):
        hosts_of.cut_slots("a:1,b:1", 3)


def write_run(folder: Path, checkpoint: int, update: int) -> Path:
    """A run with a checkpoint that has recorded a later update."""
    folder.mkdir(exist_ok=True)
    if checkpoint:
        checkpoints.save(folder / "checkpoints", checkpoint, {"a": np.zeros(1)}, {}, keep=1)
    with open(folder / "metrics.jsonl", "a") as file:
        file.writelines(json.dumps({"kind": "step", "step": step}) + "\n" for step in range(1, update + 1))
    return folder


def made(*gone: str, ranks: int = 6, hosts: str = THREE, restarts: int = 3, least: int = 1) -> Recovery:
    return Recovery(restarts, Start(ranks, hosts), least, lambda host: host not in gone)


def test_it_resumes_on_the_hosts_that_answer_and_says_what_was_lost(tmp_path, capsys):
    folder = write_run(tmp_path / "run", 8, 11)
    assert made("node2").again("rank 3 on node2 was killed", str(folder), 24) == Start(4, "node1:2,node3:2")
    said = capsys.readouterr().out
    assert said.startswith(
        "restart 1 of 3: rank 3 on node2 was killed; no answer from node2; resuming from the checkpoint after update 8;"
        " 3 recorded updates and "
    )


def test_what_was_done_again_after_a_resume_is_not_counted_as_lost(tmp_path):
    folder = write_run(tmp_path / "run", 8, 11)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"kind": "resume", "step": 8}\n{"kind": "step", "step": 9}\n')
    assert recovery.position(folder)[:2] == (8, 1)


@pytest.mark.parametrize(
    ("gone", "ranks", "hosts", "batch", "expected"),
    [
        ((), 6, THREE, 24, Start(6, THREE)),
        ((), 2, "", 24, Start(2, "")),  # this machine
        (("node1",), 6, THREE, 24, Start(4, "node2:2,node3:2")),
        (("node1",), 6, THREE, 18, Start(3, "node2:2,node3:1")),  # 4 do not divide 18
        (("node1", "node2"), 6, THREE, 24, Start(2, "node3:2")),
        (("node1",), 3, THREE, 24, Start(3, "node2:2,node3:1")),  # a host was not needed
        (("node1",), 6, THREE, 0, Start(4, "node2:2,node3:2")),  # lost before it said its batch
    ],
)
def test_the_most_ranks_that_share_the_global_batch(gone, ranks, hosts, batch, expected):
    assert made(*gone, ranks=ranks, hosts=hosts).again("lost", "", batch) == expected


@pytest.mark.parametrize(("total", "ranks", "expected"), [(12, 5, 4), (7, 6, 1), (4, 9, 4), (8, 8, 8)])
def test_most_ranks(total, ranks, expected):
    assert most_ranks(total, ranks) == expected


@pytest.mark.parametrize(
    ("gone", "batch", "least", "message"),
    [
        (("node1",), 24, 5, "no answer from node1; 4 ranks are left, --min-np is 5: continue with --resume"),
        (
            ("node1",),
            18,
            4,
            "no answer from node1; no number of ranks from 4 to 4 divides the global batch of 18: "
            "continue with --resume",
        ),
        (("node1", "node2", "node3"), 24, 1, "no answer from node1, node2, node3; 0 ranks are left, --min-np is 1"),
    ],
)
def test_with_too_few_ranks_it_ends_at_its_checkpoint_with_exit_code_75(tmp_path, gone, batch, least, message):
    folder = write_run(tmp_path / "run", 8, 8)
    with pytest.raises(InterruptedTrainingError, match=f"after update 8, with a checkpoint: lost; {message}") as ended:
        made(*gone, least=least).again("lost", str(folder), batch)
    assert ended.value.exit_code == 75


def test_with_too_few_ranks_and_no_checkpoint_it_is_an_error(tmp_path):
    folder = write_run(tmp_path / "run", 0, 3)
    with pytest.raises(UserError, match="4 ranks are left, --min-np is 5, and there is no checkpoint to resume from"):
        made("node1", least=5).again("lost", str(folder), 24)


def test_the_same_loss_twice_ends_it_and_another_one_does_not(tmp_path):
    folder, gone = write_run(tmp_path / "run", 8, 9), set()
    tried = Recovery(9, Start(6, THREE), 1, lambda host: host not in gone)
    tried.again("lost", str(folder), 24)
    gone.add("node3")  # another cause
    tried.again("lost", str(folder), 24)
    write_run(folder, 12, 13)  # progress
    tried.again("lost", str(folder), 24)
    with pytest.raises(UserError, match="lost twice after the same checkpoint on the same hosts"):
        tried.again("lost", str(folder), 24)


def test_restarts_are_bounded(tmp_path):
    tried = made(restarts=2)
    for checkpoint in (4, 8):
        tried.again("lost", str(write_run(tmp_path / "run", checkpoint, 0)), 24)
    with pytest.raises(UserError, match=r"lost; it was restarted 2 times already \(--restarts\)"):
        tried.again("lost", str(write_run(tmp_path / "run", 12, 0)), 24)


@pytest.mark.parametrize(
    ("state", "down"),
    [
        ("ALLOCATED", False),
        ("MIXED+DRAIN", False),
        ("DOWN*", True),
        ("IDLE*", True),
        ("ALLOCATED+NOT_RESPONDING", True),
    ],
)
def test_slurm_is_asked_for_the_state_of_a_node(tmp_path, monkeypatch, state, down):
    shown = f"NodeName=node3 Arch=x86_64\\n   State={state} ThreadsPerCore=1\\n   Comment=*"
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\nprintf '{shown}\\n'\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert not recovery._down_in_slurm("node3")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert recovery._down_in_slurm("node3") == down


def test_this_host_answers_and_one_that_is_not_there_does_not(tmp_path, monkeypatch):
    assert recovery.answers("localhost")
    (tmp_path / "ssh").write_text('#!/bin/sh\nfor word; do [ "$word" != far ] || exit 0; done; exit 255\n')
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert recovery.answers("far")
    assert not recovery.answers("farther")


def test_a_host_that_answers_when_it_is_asked_again_is_not_lost(tmp_path, monkeypatch):
    (tmp_path / "ssh").write_text(f"#!/bin/sh\n[ -e {tmp_path}/asked ] && exit 0\ntouch {tmp_path}/asked\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert recovery.answers("busy")


def test_a_folder_that_a_rank_still_holds_is_waited_for(tmp_path):
    recovery.wait_until_free(tmp_path)  # never opened
    (tmp_path / ".lock").touch()
    with open(tmp_path / ".lock", "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        started = time.monotonic()
        recovery.wait_until_free(tmp_path, 0.6)
        assert time.monotonic() - started > 0.5
    started = time.monotonic()
    recovery.wait_until_free(tmp_path)
    assert time.monotonic() - started < 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--restarts", 1, "--", "cloudmask", "infer"), "--restarts 1: only train and run have checkpoints to resume"),
        (("--min-np", 3, "--", "cloudmask", "train"), "--restarts 0 --min-np 3: 0 or more, and 1 to -np 2"),
    ],
)
def test_mistakes_are_one_line(options, message):
    done = run("-m", "common.run", "-np", 2, *options)
    assert done.returncode == 1
    assert done.stdout.startswith(f"error: {message}")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow
def test_a_rank_that_is_killed_in_the_middle_of_an_epoch_does_not_end_the_run(tmp_path):
    write_scenes(tmp_path / "scenes", 5)  # 24 patches to train on: 6 updates of 4
    settings = [*TINY, f"data.train_dir={tmp_path}/scenes", f"output.folder={tmp_path}", "output.run_name=killed"]
    often = [
        "training.epochs=3",
        "training.checkpoints=steps",
        "training.save_frequency=4",
        "training.logging_frequency=1",
    ]
    folder = tmp_path / "killed"
    words = ["-m", "common.run", "-np", 2, "--restarts", 2, "--", "cloudmask", "train", *settings, *often]
    process = recovery.subprocess.Popen(
        command(*words), env=environment(), stdout=-1, stderr=recovery.subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 200
    while not checkpoints.list_steps(folder / "checkpoints"):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    ranks = [rank for rank in processes_with("output.run_name=killed") if is_program(rank)]
    os.kill(next(r for r in ranks if b"cloudmask" in Path(f"/proc/{r}/cmdline").read_bytes().split(b"\0")[2]), 9)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert f"was killed by {signal.SIGKILL.name} without a message; resuming from the checkpoint after update" in output
    newest = checkpoints.load_newest(folder / "checkpoints", pytest.fail)
    assert newest.step == 18
    assert all(np.isfinite(array).all() for array in newest.arrays.values())
    assert [record["epoch"] for record in records(folder, "epoch")][-1] == 3
    (resumed,) = records(folder, "resume")
    reached = max(record["step"] for record in records(folder, "step") if record["time"] < resumed["time"])
    assert reached - resumed["step"] <= 4, "more was lost than the updates between two checkpoints"


FAULTY = """
import os, signal, sys
from pathlib import Path
import common
from cloudmask import config
from common import distributed
from common.cli.program import run_program
from common.distributed import status
from common.runs import folder
from common.session import Session
from common.runs.mlperf import Log

def killed(**values):
    os.kill(os.getpid(), signal.SIGKILL)

def main():
    distributed.init(uses_gpu=False)
    settings = config.load(None, ["output.folder=runs", "output.run_name=mine", "output.tensorboard=false"])
    first = distributed.on_root(lambda: not Path("first").exists())
    distributed.on_root(Path("first").touch)
    if first and sys.argv[2] == "before" and distributed.is_root():
        folder.status.update = killed  # the folder has its name, and the launcher does not know it yet
    resume = sys.argv[sys.argv.index("--resume") + 1] if "--resume" in sys.argv else None
    run = folder.open_run(settings, settings.output, "faulty train", resume)
    if first and distributed.rank() == 1:
        killed()
    distributed.barrier()
    with Session(run, Log(None), 1).timed():
        run.say("done, resumed" if run.resumed else "done, new")
    return 0
run_program(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("when", "last"), [("before", "done, new"), ("after", "done, resumed")])
def test_a_rank_that_is_killed_as_the_run_s_folder_appears_does_not_end_the_run(tmp_path, when, last):
    """Not with "exists already", and not with "is not a run folder"."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    words = ["-m", "common.run", "-np", 2, "--restarts", 1, "--", "faulty", "train", when]
    output = run(*words, cwd=tmp_path)
    assert output.returncode == 0, output.stdout
    assert "restart 1 of 1: " in output.stdout
    assert output.stdout.splitlines()[-1] == last
    names = {path.name for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")}
    assert names == ({"mine", "mine.1"} if when == "before" else {"mine"})

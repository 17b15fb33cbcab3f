"""Recovery of a program that has lost a rank, a host or a link: whether it is restarted, and with what is left.

A program is restarted if it was killed or its peers did not answer; not if it ended by itself: when done, with an
error, by the scheduler's warning or by Ctrl-C. It resumes from its last checkpoint on the hosts that answer, with the
largest number of ranks that divides its global batch (common.training.continuation). It ends with one line if too few
ranks are left, if it was restarted as often as allowed, or if nothing has changed since the loss before: with the same
checkpoint and the same hosts it would be lost again.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import psutil

from common.distributed import status
from common.errors import InterruptedTrainingError, UserError
from common.launching.hosts import Host, cut_slots, parse_hosts
from common.runs.records import iterate
from common.training.checkpoints import list_steps, path_of
from common.training.settings import most_ranks

_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "PasswordAuthentication=no", "-o", "StrictHostKeyChecking=no")
_ANSWER_SECONDS = 10
_TRIES = 2
# Slurm's states of a node that is lost (scontrol's manual); a star means that it does not respond. A draining node
# still computes.
_GONE = re.compile(r"State=\S*(DOWN|FAIL|NOT_RESPONDING|NO_RESPOND|POWERED|\*)")
_EXPLAINED = ("error", "stopped", "interrupted", "fault")  # kinds of endings, the most informative first
_ASKED_TO_END = (signal.SIGINT, signal.SIGTERM)
_LOCK_SECONDS = 180  # the longest that ranks may take to notice that their peers are gone


def signal_of(code: int) -> Optional[signal.Signals]:
    """Return the signal that ended a process with this exit code, as Python or a shell reports it; None without one."""
    try:
        return signal.Signals(-code if code < 0 else code - 128)
    except ValueError:
        return None


def explanation(endings: list[status.Ending]) -> Optional[status.Ending]:
    """Return the ending that best explains why the program ended; None if no rank's does."""
    by_kind = {kind: [each for each in endings if each.kind == kind] for kind in _EXPLAINED}
    return next((of_kind[0] for of_kind in by_kind.values() if of_kind), None)


def was_lost(endings: list[status.Ending], dead_code: Optional[int]) -> bool:
    """Return whether a rank was lost, as opposed to a program that ended by itself.

    Args:
        endings: of the ranks that recorded how they ended.
        dead_code: exit code of the rank that ended first, if known.
    """
    if explanation(endings):
        return False
    number = None if dead_code is None else signal_of(dead_code)
    if number is not None:
        return number not in _ASKED_TO_END
    # ssh exits with 255 when it loses its connection.
    return any(ending.kind == "peer_lost" for ending in endings) or dead_code == 255


class Position(NamedTuple):
    """How far a run has come."""

    checkpoint: Optional[int]  # update of the newest checkpoint; None without one
    lost: int  # updates recorded since
    seconds: float  # since that checkpoint

    def __str__(self) -> str:
        if self.checkpoint is None:
            return f"starting over without a checkpoint; {self.lost} recorded updates are lost"
        lost = f"{self.lost} recorded updates and {self.seconds:.0f} s since then are lost"
        return f"resuming from the checkpoint after update {self.checkpoint}; {lost}"


def position(folder: Path) -> Position:
    """Return how far the run in a folder has come."""
    steps = list_steps(folder / "checkpoints")
    newest = steps[-1] if steps else None
    recorded = (record.get("step") for record in iterate(folder / "metrics.jsonl", "step"))
    last = max((step for step in recorded if isinstance(step, int)), default=0)
    began = path_of(folder / "checkpoints", newest) if newest is not None else folder / "config.yaml"
    seconds = time.time() - began.stat().st_mtime if began.exists() else 0.0
    return Position(newest, max(last - (newest or 0), 0), seconds)


class Start(NamedTuple):
    """How to start a program. hosts: as -H takes them; empty is this machine."""

    ranks: int
    hosts: str


class _Loss(NamedTuple):
    checkpoint: Optional[int]
    answering: list[Host]


@dataclass
class Recovery:
    """The restarts of one program.

    Attributes:
        restarts: how often it may be restarted.
        first: how it was first started.
        least: the fewest ranks to continue with.
        answers: tells whether a host can be used.
    """

    restarts: int
    first: Start
    least: int
    answers: Callable[[str], bool]
    _losses: list[_Loss] = field(default_factory=list)

    def again(self, why: str, folder: str, global_batch: int) -> Start:
        """Return how to restart the program, and print what was lost.

        Args:
            why: what happened, in words.
            folder: the run's, empty if it had none yet.
            global_batch: the run's, in samples; 0 if not known yet.

        Raises:
            InterruptedTrainingError: (exit code 75) if too few ranks are left to resume from a checkpoint.
            UserError: if another start would not help.
        """
        hosts = parse_hosts(self.first.hosts)
        with ThreadPoolExecutor(32) as threads:
            answered = list(threads.map(lambda host: self.answers(host.name), hosts))
        left = [host for host, answers in zip(hosts, answered) if answers]
        gone = [host.name for host, answers in zip(hosts, answered) if not answers]
        reached = position(Path(folder)) if folder else Position(None, 0, 0.0)
        loss = "; no answer from ".join([why, *([", ".join(gone)] if gone else [])])
        self._refuse_repetition(_Loss(reached.checkpoint, left), loss)
        most = min(sum(host.slots for host in left), self.first.ranks) if hosts else self.first.ranks
        ranks = most_ranks(global_batch, most) if global_batch and most else most
        if ranks < max(self.least, 1):
            raise self._too_few(loss, folder, reached, most, global_batch)
        print(f"restart {len(self._losses)} of {self.restarts}: {loss}; {reached}", flush=True)
        return Start(ranks, cut_slots(",".join(f"{host.name}:{host.slots}" for host in left), ranks))

    def _refuse_repetition(self, loss: _Loss, description: str) -> None:
        """Note a loss. Raises UserError if it is one too many, or the same as the one before."""
        if len(self._losses) == self.restarts:
            raise UserError(f"{description}; it was restarted {self.restarts} times already (--restarts)")
        if self._losses and self._losses[-1] == loss:
            raise UserError(
                f"{description}; it was lost twice after the same checkpoint on the same hosts, so it would be lost "
                "again (too little memory? for more frequent checkpoints, lower training.save_frequency)"
            )
        self._losses.append(loss)

    def _too_few(self, loss: str, folder: str, reached: Position, most: int, global_batch: int) -> UserError:
        few = f"{most} ranks are left, --min-np is {self.least}"
        if most >= self.least:
            few = f"no number of ranks from {self.least} to {most} divides the global batch of {global_batch}"
        if reached.checkpoint is None:
            return UserError(f"{loss}; {few}, and there is no checkpoint to resume from")
        return InterruptedTrainingError(
            f"after update {reached.checkpoint}, with a checkpoint: {loss}; {few}: continue with --resume {folder}"
        )


def answers(host: str) -> bool:
    """Return whether a host can be used: it is this one, or Slurm does not report it down and its sshd lets us in."""
    if _is_here(host):
        return True
    login = [*_SSH, "-o", f"ConnectTimeout={_ANSWER_SECONDS}", host, "true"]
    # More than one try: a host that is busy is not gone.
    return not _down_in_slurm(host) and any(_quietly(login) == 0 for _ in range(_TRIES))


def _is_here(host: str) -> bool:
    try:
        address = socket.gethostbyname(host)
    except OSError:
        return False
    return any(address == own.address for card in psutil.net_if_addrs().values() for own in card)


def _down_in_slurm(host: str) -> bool:
    if "SLURM_JOB_ID" not in os.environ or shutil.which("scontrol") is None:
        return False
    try:
        query = ["scontrol", "show", "node", host]
        result = subprocess.run(query, capture_output=True, text=True, timeout=2 * _ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return False  # it may be Slurm's controller that does not answer
    return bool(_GONE.search(result.stdout))


def _quietly(words: list[str]) -> int:
    """Exit code of a command without output; 1 if it takes too long."""
    try:
        return subprocess.run(
            words, capture_output=True, stdin=subprocess.DEVNULL, timeout=2 * _ANSWER_SECONDS
        ).returncode
    except subprocess.TimeoutExpired:
        return 1


def wait_until_free(folder: Path, seconds: float = _LOCK_SECONDS) -> None:
    """Wait until no rank locks the run's folder, for at most `seconds`.

    A rank that was cut off ends by itself when its peers do not answer. If it takes longer, the next start reports
    that the folder is locked.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(folder / ".lock", "rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
        except BlockingIOError:
            time.sleep(0.5)
        except OSError:
            return  # no lock, or a file system without locks

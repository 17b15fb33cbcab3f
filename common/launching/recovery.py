"""A program that has lost a rank, a host or a link: whether it is started again, and on what of the machine is left.

Started again is a program that was killed or whose peers did not answer; not one that ended by itself: done, an error,
a warning of the scheduler, Ctrl-C. It goes on from its last checkpoint on the hosts that answer, with the most ranks
that share its global batch out evenly (common.training.continuation). It ends, with one line, where too few ranks are
left, where it was started again as often as allowed, and where nothing has changed since the loss before: the same
checkpoint, the same hosts, so that it would be lost again.
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
from common.runs.records import read_records
from common.training.checkpoints import list_steps
from common.training.settings import most_ranks

_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "PasswordAuthentication=no", "-o", "StrictHostKeyChecking=no")
_ANSWER_SECONDS = 10
_TRIES = 2
# Of Slurm's states of a node (scontrol's manual); a star is one that does not respond. One that drains still computes.
_GONE = re.compile(r"State=\S*(DOWN|FAIL|NOT_RESPONDING|NO_RESPOND|POWERED|\*)")
_EXPLAINED = ("error", "stopped", "interrupted", "fault")  # kinds of endings, those that say most first
_ASKED_TO_END = (signal.SIGINT, signal.SIGTERM)
_LOCK_SECONDS = 180  # the longest that ranks may take to notice that they are alone


class Host(NamedTuple):
    name: str
    slots: int


def parse_hosts(text: str) -> list[Host]:
    """As -H takes them, `name:slots,...`."""
    parts = [part.partition(":") for part in text.split(",") if part]
    return [Host(name, int(slots) if slots.isdigit() else 1) for name, _, slots in parts]


def signal_of(code: int) -> Optional[signal.Signals]:
    """The signal that a process with this exit code was ended by, as Python or as a shell tells it."""
    try:
        return signal.Signals(-code if code < 0 else code - 128)
    except ValueError:
        return None


def cut_slots(hosts: str, ranks: int) -> str:
    """Of `name:slots,...` as many slots as ranks, the first first: horovodrun over Gloo starts a rank on every slot,
    whatever -np says (Horovod 0.28.1).

    Raises:
        UserError: if there are fewer slots than ranks.
    """
    kept, missing = [], ranks
    for host in parse_hosts(hosts):
        slots = min(host.slots, missing)
        missing -= slots
        if slots:
            kept.append(f"{host.name}:{slots}")
    if kept and missing:
        raise UserError(f"-H {hosts}: has {ranks - missing} slots for {ranks} ranks (-np): give more, or fewer ranks")
    return ",".join(kept)


def explanation(endings: list[status.Ending]) -> Optional[status.Ending]:
    """The ending that tells why a program ended, a mistake before a fault; None where no rank tells."""
    by_kind = {kind: [each for each in endings if each.kind == kind] for kind in _EXPLAINED}
    return next((found[0] for found in by_kind.values() if found), None)


def was_lost(endings: list[status.Ending], dead_code: Optional[int]) -> bool:
    """Whether a rank was lost, rather than that the program ended by itself.

    Args:
        endings: of the ranks that told how they ended.
        dead_code: exit code of the rank that ended first, if that is known.
    """
    if explanation(endings):
        return False
    number = None if dead_code is None else signal_of(dead_code)
    if number is not None:
        return number not in _ASKED_TO_END
    # 255: ssh lost its connection.
    return any(ending.kind == "peer_lost" for ending in endings) or dead_code == 255


class Position(NamedTuple):
    """What a run leaves behind. checkpoint: its newest one's update, None without one. lost: updates recorded since;
    seconds: since that checkpoint."""

    checkpoint: Optional[int]
    lost: int
    seconds: float

    def __str__(self) -> str:
        if self.checkpoint is None:
            return f"without a checkpoint, {self.lost} recorded updates are lost"
        behind = f"{self.lost} recorded updates and {self.seconds:.0f} s behind it are lost"
        return f"from the checkpoint after update {self.checkpoint}; {behind}"


def position(folder: Path) -> Position:
    """Of the run in a folder."""
    steps = list_steps(folder / "checkpoints")
    newest = steps[-1] if steps else None
    records = read_records(folder / "metrics.jsonl")
    recorded = [record.get("step") for record in records if record["kind"] == "step"]
    last = max((step for step in recorded if isinstance(step, int)), default=0)
    began = folder / "checkpoints" / f"step-{newest:08d}" if newest is not None else folder / "config.yaml"
    seconds = time.time() - began.stat().st_mtime if began.exists() else 0.0
    return Position(newest, max(last - (newest or 0), 0), seconds)


class Start(NamedTuple):
    """hosts: as -H takes them; empty is this machine."""

    ranks: int
    hosts: str


class _Loss(NamedTuple):
    checkpoint: Optional[int]
    answering: list[Host]


@dataclass
class Recovery:
    """Of one program. restarts: how often it is started again at most. first: as it was asked for. least: ranks."""

    restarts: int
    first: Start
    least: int
    answers: Callable[[str], bool]
    _losses: list[_Loss] = field(default_factory=list)

    def again(self, why: str, folder: str, global_batch: int) -> Start:
        """How to start it again; says what was lost. why: of the loss. folder: of the run, empty if it had none yet.

        Raises InterruptedTrainingError (exit code 75) where too few ranks are left to go on from a checkpoint, and
        UserError where another start would be of no use.
        """
        hosts = parse_hosts(self.first.hosts)
        with ThreadPoolExecutor(32) as threads:
            found = list(threads.map(lambda host: self.answers(host.name), hosts))
        left = [host for host, answered in zip(hosts, found) if answered]
        gone = [host.name for host, answered in zip(hosts, found) if not answered]
        where = position(Path(folder)) if folder else Position(None, 0, 0.0)
        what = "; no answer from ".join([why, *([", ".join(gone)] if gone else [])])
        self._refuse_repetition(_Loss(where.checkpoint, left), what)
        most = min(sum(host.slots for host in left), self.first.ranks) if hosts else self.first.ranks
        ranks = most_ranks(global_batch, most) if global_batch and most else most
        if ranks < max(self.least, 1):
            raise self._too_few(what, folder, where, most, global_batch)
        print(f"restart {len(self._losses)} of {self.restarts}: {what}; going on {where}", flush=True)
        return Start(ranks, cut_slots(",".join(f"{host.name}:{host.slots}" for host in left), ranks))

    def _refuse_repetition(self, loss: _Loss, what: str) -> None:
        """Raises UserError."""
        if len(self._losses) == self.restarts:
            raise UserError(f"{what}; it was started again {self.restarts} times already (--restarts)")
        if self._losses and self._losses[-1] == loss:
            raise UserError(
                f"{what}; it was lost twice after the same checkpoint on the same hosts, so it would be lost again "
                "(too little memory? a checkpoint more often: training.save_frequency)"
            )
        self._losses.append(loss)

    def _too_few(self, what: str, folder: str, where: Position, most: int, global_batch: int) -> UserError:
        few = f"{most} ranks are left, --min-np is {self.least}"
        if most >= self.least:
            few = f"no number of ranks from {self.least} to {most} divides the global batch of {global_batch}"
        if where.checkpoint is None:
            return UserError(f"{what}; {few}, and there is no checkpoint to go on from")
        return InterruptedTrainingError(
            f"after update {where.checkpoint} with a checkpoint: {what}; {few}: go on with --resume {folder}"
        )


def answers(host: str) -> bool:
    """Whether a host can be used: it is this one, or Slurm does not call it down and its sshd lets us in."""
    if _is_here(host):
        return True
    ask = [*_SSH, "-o", f"ConnectTimeout={_ANSWER_SECONDS}", host, "true"]
    # Asked again before it is given up: a host that is busy is not gone.
    return not _down_in_slurm(host) and any(_quietly(ask) == 0 for _ in range(_TRIES))


def _is_here(host: str) -> bool:
    try:
        address = socket.gethostbyname(host)
    except OSError:
        return False
    return any(address == found.address for card in psutil.net_if_addrs().values() for found in card)


def _down_in_slurm(host: str) -> bool:
    if "SLURM_JOB_ID" not in os.environ or shutil.which("scontrol") is None:
        return False
    try:
        ask = ["scontrol", "show", "node", host]
        shown = subprocess.run(ask, capture_output=True, text=True, timeout=2 * _ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return False  # the controller may be what does not answer
    return bool(_GONE.search(shown.stdout))


def _quietly(words: list[str]) -> int:
    """Exit code of a command without output; 1 if it takes too long."""
    try:
        return subprocess.run(
            words, capture_output=True, stdin=subprocess.DEVNULL, timeout=2 * _ANSWER_SECONDS
        ).returncode
    except subprocess.TimeoutExpired:
        return 1


def wait_until_free(folder: Path, seconds: float = _LOCK_SECONDS) -> None:
    """Until no rank holds the run's folder: one that was cut off ends by itself, when its peers do not answer. Where
    that takes longer the next start says so."""
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

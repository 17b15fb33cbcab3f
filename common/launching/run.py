"""Run a program on several ranks that ends as it would on one: python -m common.run -np N [-H HOSTS] -- PROGRAM ...

PROGRAM is what follows `python -m`: a benchmark's package, its command and arguments. horovodrun starts it; its output
is passed on without prefixes and without horovodrun's own report of a failure, so that the last line and the exit code
are the program's own. After Ctrl-C a line says how to resume. With --restarts, a training that loses a rank, a host or
a link resumes from its last checkpoint on what is left (common.launching.recovery).

The ranks report their state and how they end by files (common.distributed.status) in a hidden folder of the current
one, which must be on a file system that they share.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from common.cli import output as standard_output
from common.cli.program import Parser
from common.distributed import status
from common.errors import UserError
from common.launching.hosts import check_known, cut_slots, parse_hosts
from common.launching.processes import horovodrun
from common.launching.recovery import (
    Recovery,
    Start,
    answers,
    explanation,
    signal_of,
    wait_until_free,
    was_lost,
)

_PREFIX = re.compile(r"^\[(\d+)\]<(?:stdout|stderr)>:")
_HOROVODRUN = re.compile(r"^(Process name|Exit code): (-?\d+)")  # its report: the rank that ended first, and how
# What the C++ code of Horovod and Gloo prints when a peer is gone, and the shell when it was stopped.
_NOISE = re.compile(r"^\[\d{4}-\d\d-\d\d [\d:. ]+: [EF] /.*horovod|^Terminated$|^Killed$")
_LAST_LINES = ("error: ", "stopped: ")  # held back, so that one of them comes last
_RESUMABLE = ("train", "run")
_PATIENCE_SECONDS = 20  # for the ranks to end after Ctrl-C
_INTERRUPTED = -signal.SIGINT
# With --restarts, the program ends when a peer is silent for so many seconds (jobs/common.sh has the same values).
_LIMITS = {
    "HOROVOD_GLOO_TIMEOUT_SECONDS": "120",
    "HOROVOD_STALL_CHECK_TIME_SECONDS": "60",
    "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "300",
}


class Output:
    """Prints what the ranks print, except their last lines, and reads horovodrun's report.

    Attributes:
        dead_rank: the first rank to end, by horovodrun's report.
        dead_code: its exit code.
        last_lines: the ranks' last lines.
    """

    def __init__(self) -> None:
        self.dead_rank: Optional[int] = None
        self.dead_code: Optional[int] = None
        self.last_lines: list[str] = []

    def take(self, line: str) -> None:
        """Handle one line of horovodrun's output."""
        prefix = _PREFIX.match(line)
        if not prefix:
            self._take_report(line)
            return
        text = line[prefix.end() :]
        if text.startswith(_LAST_LINES):
            self.last_lines.append(text)
        elif not _NOISE.match(text):
            print(text, flush=True)

    def _take_report(self, line: str) -> None:
        report = _HOROVODRUN.match(line)
        if report and report[1] == "Process name" and self.dead_rank is None:
            self.dead_rank = int(report[2])
        elif report and report[1] == "Exit code" and self.dead_code is None:
            self.dead_code = int(report[2])


def dead(rank: int, code: int, hosts: str) -> str:
    """Describe how a rank ended that left no message. hosts: as -H takes them, `name:slots,...`."""
    number = signal_of(code)
    how = f"was killed by {number.name}" if number else f"ended with exit code {code}"
    names = [host.name for host in parse_hosts(hosts) for _ in range(host.slots)]
    return f"rank {rank} on {names[rank] if rank < len(names) else socket.gethostname()} {how} without a message"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line. Raises UserError."""
    parser = Parser("python -m common.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-np", type=int, required=True, metavar="N", help="ranks")
    parser.add_argument(
        "-H",
        dest="hosts",
        default="",
        metavar="HOST:SLOTS,...",
        help="default: this machine",
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        metavar="R",
        help="how often a training that has lost a rank, a host or a link is restarted; default 0",
    )
    parser.add_argument(
        "--min-np", type=int, default=1, metavar="M", help="fewest ranks to continue with; fewer end with exit code 75"
    )
    parser.add_argument("program", nargs="+", metavar="PROGRAM", help="after --, such as: PACKAGE train --config FILE")
    options = parser.parse_args(arguments)
    if options.np < 1:
        raise UserError(f"-np {options.np}: at least one rank is needed")
    if options.restarts < 0 or not 1 <= options.min_np <= options.np:
        raise UserError(
            f"--restarts {options.restarts} --min-np {options.min_np}: 0 or more, and 1 to -np {options.np}"
        )
    cut_slots(options.hosts, options.np)
    check_known(parse_hosts(options.hosts))
    if options.restarts and not _resumable(options.program):
        raise UserError(
            f"--restarts {options.restarts}: only {' and '.join(_RESUMABLE)} have checkpoints to resume from"
        )
    return options


def _resumable(program: list[str]) -> bool:
    return len(program) > 1 and program[1] in _RESUMABLE


def main() -> int:
    """Run the command `common.run`. Returns the exit code."""
    options = parse(sys.argv[1:])
    launcher = horovodrun()
    standard_output.do_without()
    with _status_folder() as folder:
        return _run_with_restarts(options, launcher, folder)


@contextmanager
def _status_folder() -> Iterator[Path]:
    """A folder for the ranks' state, in the current one, in which ranks on other hosts start too."""
    try:
        folder = tempfile.mkdtemp(prefix=".run-status-", dir=Path.cwd())
    except OSError:
        folder = tempfile.mkdtemp(prefix="run-status-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_with_restarts(options: argparse.Namespace, launcher: Path, folder: Path) -> int:
    """Run the program until it ends or is not restarted; return the last exit code."""
    start, program = Start(options.np, cut_slots(options.hosts, options.np)), options.program
    recovery = Recovery(options.restarts, start, options.min_np, answers)
    while True:
        output = Output()
        status.clear(folder)
        code = _run(launcher, start, program, output, folder, _LIMITS if options.restarts else {})
        if code == 0:
            return 0
        state, endings = status.read_status(folder), status.read_endings(folder)
        if code == _INTERRUPTED:
            return _interrupted(options, state)
        explained = explanation(endings)
        if explained:
            print(explained.message, file=sys.stderr)
            return explained.exit_code
        if output.last_lines and not endings:  # from ranks that do not share the folder
            print(output.last_lines[0], file=sys.stderr)
            return 1
        rank, dead_code = _lost_rank(output, endings), output.dead_code or 1
        loss = "a rank, its host or its link was lost" if rank is None else dead(rank, dead_code, start.hosts)
        if not options.restarts or not was_lost(endings, output.dead_code):
            hint = "too little memory?" if rank is None or signal_of(dead_code) else "see what it printed above"
            line = f"error: {loss}; the other ranks were stopped ({hint})"
            lost = output.dead_rank is not None or endings
            print(
                line if lost else f"error: horovodrun ended with exit code {code}; start it by hand",
                file=sys.stderr,
            )
            return 1
        start = recovery.again(loss, state.run_folder, state.global_batch)
        if state.run_folder and (Path(state.run_folder) / "config.yaml").is_file():
            program = [*options.program, "--resume", state.run_folder]
            wait_until_free(Path(state.run_folder))


def _lost_rank(output: Output, endings: list[status.Ending]) -> Optional[int]:
    """The rank that was lost; None if it is not known. One that ended because its peers were gone is not the one."""
    peers_lost = any(ending.kind == "peer_lost" for ending in endings)
    return None if peers_lost and not signal_of(output.dead_code or 1) else output.dead_rank


def _run(launcher: Path, start: Start, program: list[str], output: Output, folder: Path, limits: dict[str, str]) -> int:
    """Return horovodrun's exit code, or _INTERRUPTED after Ctrl-C. limits: variables, unless the user has set them."""
    hosts = ["-H", start.hosts] if start.hosts else []
    words = [str(launcher), "--gloo", "-np", str(start.ranks), *hosts, sys.executable, "-m", *program]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **limits, **os.environ, "PYTHONUNBUFFERED": "1"}
    environment[status.VARIABLE] = str(folder)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                output.take(line.rstrip("\n"))
            return process.wait()
        except KeyboardInterrupt:
            try:  # the ranks received the signal as well; those that have not ended after a while are stopped
                process.wait(_PATIENCE_SECONDS)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
            return _INTERRUPTED


def _interrupted(options: argparse.Namespace, state: status.Status) -> int:
    line, program = "error: stopped by Ctrl-C", options.program
    if _resumable(program) and any(Path(state.run_folder).glob("checkpoints/step-*")):
        again = f"python -m common.run -np {options.np} -- {' '.join(program[:2])} --resume {state.run_folder}"
        line += f"; to resume from its last checkpoint: {again}"
    print(line, file=sys.stderr)
    return 130

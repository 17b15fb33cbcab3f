"""A program on several ranks that ends as it would on one: python -m common.run -np N [-H HOSTS] -- PROGRAM ...

PROGRAM is what stands behind `python -m`, such as `cloudmask run --config FILE`. It is started by horovodrun, whose
output is passed on without prefixes and without its own report of a failure; the last line is the program's own, and so
is the exit code. Ctrl-C says how to go on. With --restarts a training that loses a rank, a host or a link goes on from
its last checkpoint on what is left (common.recovery).
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Optional

from common.errors import UserError
from common.program import Parser, run_program
from common.recovery import Ending, Recovery, Start, answers, parse_hosts, signal_of, wait_until_free, was_lost

_PREFIX = re.compile(r"^\[(\d+)\]<(?:stdout|stderr)>:")
_OUTCOME = re.compile(r"^(error|stopped): ")
# What Horovod's and Gloo's C++ says when a peer has gone, and the shell when it was stopped.
_NOISE = re.compile(r"^\[\d{4}-\d\d-\d\d [\d:. ]+: [EF] /.*horovod|^Terminated$|^Killed$")
_RUN_FOLDER = re.compile(r"^run folder: (.+)$")
_GLOBAL_BATCH = re.compile(r"^training on .*global batch (\d+),")
_RESUMABLE = ("train", "run")
_PATIENCE_SECONDS = 20  # for the ranks to end after Ctrl-C
_INTERRUPTED = -signal.SIGINT
# With --restarts a peer that has gone without a word ends the program (seconds; jobs/common.sh has the same).
_LIMITS = {
    "HOROVOD_GLOO_TIMEOUT_SECONDS": "120",
    "HOROVOD_STALL_CHECK_TIME_SECONDS": "60",
    "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "300",
}


class Output:
    """What the ranks say: passed on as it comes, but for the line that tells how the program ended."""

    def __init__(self) -> None:
        self.run_folder = ""
        self.global_batch = 0  # 0: not said yet
        self.begin()

    def begin(self) -> None:
        """Of a start; the run stays."""
        self.outcome = ""
        self.dead_rank: Optional[int] = None
        self.dead_code: Optional[int] = None
        self.peers_lost = self.fault = False

    def take(self, line: str) -> None:
        found = _PREFIX.match(line)
        text = line[found.end() :] if found else line
        if not found:  # horovodrun's own: of a failure it tells which process was the first, and its exit code
            name, code = re.match(r"^Process name: (\d+)", text), re.match(r"^Exit code: (-?\d+)", text)
            self.dead_rank = int(name[1]) if name and self.dead_rank is None else self.dead_rank
            self.dead_code = int(code[1]) if code and self.dead_code is None else self.dead_code
            return
        if _OUTCOME.match(text):
            if "another rank failed" in text:
                self.peers_lost = True
            elif not self.outcome:
                self.outcome = text
            return
        if _NOISE.match(text):
            return
        folder, batch = _RUN_FOLDER.match(text), _GLOBAL_BATCH.search(text)
        if folder:
            self.run_folder = folder[1]
        if batch:
            self.global_batch = int(batch[1])
        self.fault |= text.startswith("Traceback ")
        print(text, flush=True)

    def ending(self) -> Ending:
        return Ending(self.outcome, self.dead_code, self.peers_lost, self.fault)


def exit_code(outcome: str) -> int:
    """Of the program that ended with this line."""
    if outcome.startswith("stopped: after update"):
        return 75
    return 130 if "stopped by Ctrl-C" in outcome else 1


def dead(rank: int, code: int, hosts: str) -> str:
    """What a rank that ended without a word ended by. hosts: as -H takes them, `name:slots,...`."""
    number = signal_of(code)
    how = f"was killed by {number.name}" if number else f"ended with exit code {code}"
    names = [host.name for host in parse_hosts(hosts) for _ in range(host.slots)]
    return f"rank {rank} on {names[rank] if rank < len(names) else socket.gethostname()} {how} without a word"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser("python -m common.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-np", type=int, required=True, metavar="N", help="ranks")
    parser.add_argument("-H", dest="hosts", default="", metavar="HOST:SLOTS,...", help="default: this machine")
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        metavar="R",
        help="how often a training that has lost a rank, a host or a link is started again; default 0",
    )
    parser.add_argument(
        "--min-np", type=int, default=1, metavar="M", help="fewest ranks to go on with; below it ends with exit code 75"
    )
    parser.add_argument(
        "program", nargs="+", metavar="PROGRAM", help="after --, such as: cloudmask train --config FILE"
    )
    options = parser.parse_args(arguments)
    if options.np < 1:
        raise UserError(f"-np {options.np}: at least one rank is needed")
    if options.restarts < 0 or not 1 <= options.min_np <= options.np:
        raise UserError(
            f"--restarts {options.restarts} --min-np {options.min_np}: 0 or more, and 1 to -np {options.np}"
        )
    if options.restarts and not _resumable(options.program):
        raise UserError(
            f"--restarts {options.restarts}: only {' and '.join(_RESUMABLE)} have checkpoints to go on from"
        )
    return options


def _resumable(program: list[str]) -> bool:
    return len(program) > 1 and program[1] in _RESUMABLE


def main() -> int:
    options = parse(sys.argv[1:])
    launcher = Path(sys.executable).with_name("horovodrun")
    if not launcher.exists():
        raise UserError(f"{launcher}: no such program: run `make venv`, and use its Python")
    start, program, output = Start(options.np, options.hosts), options.program, Output()
    recovery = Recovery(options.restarts, start, options.min_np, answers)
    while True:
        output.begin()
        code = _run(launcher, start, program, output, _LIMITS if options.restarts else {})
        if code == 0:
            return 0
        if code == _INTERRUPTED:
            return _interrupted(options, output)
        what = "a rank, its host or its link was lost"
        if output.dead_rank is not None and (not output.peers_lost or signal_of(output.dead_code or 1)):
            what = dead(output.dead_rank, output.dead_code or 1, start.hosts)
        if not options.restarts or not was_lost(output.ending()):
            break
        start = recovery.again(what, output.run_folder, output.global_batch)
        if output.run_folder:
            program = [*options.program, "--resume", output.run_folder]
            wait_until_free(Path(output.run_folder))
    if not output.outcome and output.dead_rank is not None:
        output.outcome = f"error: {what}; the other ranks were stopped (too little memory?)"
    print(output.outcome or f"error: horovodrun ended with exit code {code}; start it by hand", file=sys.stderr)
    return exit_code(output.outcome)


def _run(launcher: Path, start: Start, program: list[str], output: Output, limits: dict[str, str]) -> int:
    """Exit code of horovodrun, or _INTERRUPTED after Ctrl-C. limits: variables that the user's own go before."""
    hosts = ["-H", start.hosts] if start.hosts else []
    words = [str(launcher), "--gloo", "-np", str(start.ranks), *hosts, sys.executable, "-m", *program]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **limits, **os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                output.take(line.rstrip("\n"))
            return process.wait()
        except KeyboardInterrupt:
            try:  # the ranks got the signal as well; those that are left after a while are stopped
                process.wait(_PATIENCE_SECONDS)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
            return _INTERRUPTED


def _interrupted(options: argparse.Namespace, output: Output) -> int:
    line = "error: stopped by Ctrl-C"
    program = options.program
    if _resumable(program) and any(Path(output.run_folder).glob("checkpoints/step-*")):
        again = f"python -m common.run -np {options.np} -- {' '.join(program[:2])} --resume {output.run_folder}"
        line += f"; from its last checkpoint it goes on with: {again}"
    print(line, file=sys.stderr)
    return 130


if __name__ == "__main__":
    run_program(main)

"""A program on several ranks that ends as it would on one: python -m common.run -np N [-H HOSTS] -- PROGRAM ...

PROGRAM is what stands behind `python -m`, such as `cloudmask run --config FILE`. It is started by horovodrun, whose
output is passed on without prefixes and without its own report of a failure; the last line is the program's own, and so
is the exit code. Ctrl-C says how to go on.
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

_PREFIX = re.compile(r"^\[(\d+)\]<(?:stdout|stderr)>:")
_OUTCOME = re.compile(r"^(error|stopped): ")
# What Horovod's and Gloo's C++ says when a peer has gone, and the shell when it was stopped.
_NOISE = re.compile(r"^\[\d{4}-\d\d-\d\d [\d:.]+: [EF] /.*horovod|^Terminated$|^Killed$")
_RUN_FOLDER = re.compile(r"^run folder: (.+)$")
_RESUMABLE = ("train", "run")
_PATIENCE_SECONDS = 20  # for the ranks to end after Ctrl-C


class Output:
    """What the ranks say: passed on as it comes, but for the line that tells how the program ended."""

    def __init__(self) -> None:
        self.outcome = ""
        self.run_folder = ""
        self.dead_rank: Optional[int] = None
        self.dead_code: Optional[int] = None

    def take(self, line: str) -> None:
        found = _PREFIX.match(line)
        text = line[found.end() :] if found else line
        if not found:  # horovodrun's own: of a failure it tells which process was the first, and its exit code
            name, code = re.match(r"^Process name: (\d+)", text), re.match(r"^Exit code: (-?\d+)", text)
            self.dead_rank = int(name[1]) if name and self.dead_rank is None else self.dead_rank
            self.dead_code = int(code[1]) if code and self.dead_code is None else self.dead_code
            return
        if _OUTCOME.match(text):
            if not self.outcome and "another rank failed" not in text:
                self.outcome = text
            return
        if _NOISE.match(text):
            return
        folder = _RUN_FOLDER.match(text)
        if folder:
            self.run_folder = folder[1]
        print(text, flush=True)


def exit_code(outcome: str) -> int:
    """Of the program that ended with this line."""
    if outcome.startswith("stopped: after update"):
        return 75
    return 130 if "stopped by Ctrl-C" in outcome else 1


def dead_line(rank: int, code: int, hosts: str) -> str:
    """For a rank that ended without a word. hosts: as -H takes them, `name:slots,...`."""
    number = -code if code < 0 else code - 128
    try:
        how = f"was killed by {signal.Signals(number).name}"
    except ValueError:
        how = f"ended with exit code {code}"
    names = [name for part in hosts.split(",") if part for name, slots in [_host(part)] for _ in range(slots)]
    host = names[rank] if rank < len(names) else socket.gethostname()
    return f"error: rank {rank} on {host} {how} without a word; the other ranks were stopped (too little memory?)"


def _host(part: str) -> tuple[str, int]:
    name, _, slots = part.partition(":")
    return name, int(slots) if slots.isdigit() else 1


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser("python -m common.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-np", type=int, required=True, metavar="N", help="ranks")
    parser.add_argument("-H", dest="hosts", default="", metavar="HOST:SLOTS,...", help="default: this machine")
    parser.add_argument(
        "program", nargs="+", metavar="PROGRAM", help="after --, such as: cloudmask train --config FILE"
    )
    options = parser.parse_args(arguments)
    if options.np < 1:
        raise UserError(f"-np {options.np}: at least one rank is needed")
    return options


def main() -> int:
    options = parse(sys.argv[1:])
    launcher = Path(sys.executable).with_name("horovodrun")
    if not launcher.exists():
        raise UserError(f"{launcher}: no such program: run `make venv`, and use its Python")
    hosts = ["-H", options.hosts] if options.hosts else []
    words = [str(launcher), "--gloo", "-np", str(options.np), *hosts, sys.executable, "-m", *options.program]
    output = Output()
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=_environment()
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                output.take(line.rstrip("\n"))
            code = process.wait()
        except KeyboardInterrupt:
            return _interrupted(process, options, output)
    if code == 0:
        return 0
    if not output.outcome and output.dead_rank is not None:
        output.outcome = dead_line(output.dead_rank, output.dead_code or 1, options.hosts)
    print(output.outcome or f"error: horovodrun ended with exit code {code}; start it by hand", file=sys.stderr)
    return exit_code(output.outcome)


def _environment() -> dict[str, str]:
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONUNBUFFERED": "1"}


def _interrupted(process: subprocess.Popen, options: argparse.Namespace, output: Output) -> int:
    """The ranks got the signal as well; those that are left after a while are stopped."""
    try:
        process.wait(_PATIENCE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
    line = "error: stopped by Ctrl-C"
    program = options.program
    if len(program) > 1 and program[1] in _RESUMABLE and any(Path(output.run_folder).glob("checkpoints/step-*")):
        again = f"python -m common.run -np {options.np} -- {' '.join(program[:2])} --resume {output.run_folder}"
        line += f"; from its last checkpoint it goes on with: {again}"
    print(line, file=sys.stderr)
    return 130


if __name__ == "__main__":
    run_program(main)

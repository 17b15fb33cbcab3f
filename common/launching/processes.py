"""Programs of ours as processes of their own, each with its output in a file, some at a time.

They end with the process that started them, however that ends, so that nobody goes on writing into its folders.
"""

import ctypes
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, NamedTuple

from common import resources
from common.errors import UserError

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # of Linux' prctl; elsewhere the call fails, and children outlive a parent that was killed
_LOOK_SECONDS = 0.2


class Job(NamedTuple):
    """name: its own among those that run together. log: where standard output and error go; its folder must exist."""

    name: str
    command: list[str]
    log: Path


def horovodrun() -> Path:
    """Return the launcher in this Python's environment.

    Raises:
        UserError: if it has none.
    """
    launcher = Path(sys.executable).with_name("horovodrun")
    if not launcher.exists():
        raise UserError(
            f"{launcher}: no such program: Horovod, which several ranks need, is not installed in this environment; "
            f"`make venv` installs it, or {resources.JOBS / 'horovod.sh'} does here"
        )
    return launcher


def run_all(jobs: list[Job], at_once: int, done: Callable[[Job, str], None]) -> None:
    """Run all, `at_once` at a time, in order. done: told of each as it ends, with its line of error or an empty text.

    To be called by the process' first thread, whose end ends the programs.
    """
    waiting = list(jobs)
    running: dict[str, tuple[Job, subprocess.Popen]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running[job.name] = job, _start(job)
            for job, process in list(running.values()):
                if process.poll() is not None:
                    del running[job.name]
                    done(job, _problem(job) if process.returncode else "")
            time.sleep(_LOOK_SECONDS)
    finally:
        for _, process in running.values():
            process.kill()


def run(job: Job) -> str:
    """Run one; its line of error, or an empty text."""
    problems: list[str] = []
    run_all([job], 1, lambda _, problem: problems.append(problem))
    return problems[0]


def _start(job: Job) -> subprocess.Popen:
    with open(job.log, "wb") as log:
        return subprocess.Popen(job.command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent)


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _problem(job: Job) -> str:
    """The first line of error in the log, or where to look."""
    lines = job.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.split("error: ")[-1] for line in lines if "error:" in line), f"see {job.log}")

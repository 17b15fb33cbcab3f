"""Running this project's programs as child processes, a few at a time, each with its output in a file.

They end with the process that started them, however that ends, so that none keeps writing into its folders.
"""

import ctypes
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, NamedTuple

from common import resources
from common.errors import UserError, storage_problem

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # for Linux's prctl; elsewhere the call fails, and children outlive a parent that was killed
_POLL_SECONDS = 0.2


class Job(NamedTuple):
    """A program to run. name: unique among those run together. log: file for its output, in an existing folder."""

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
    """Run all jobs in order, `at_once` at a time.

    Call it from the process's main thread: the programs end when the thread that started them does.

    Args:
        jobs: what to run.
        at_once: how many run at a time.
        done: called with each job as it ends and its error line, which is empty if it succeeded.
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
            time.sleep(_POLL_SECONDS)
    finally:
        for _, process in running.values():
            process.kill()


def run(job: Job) -> str:
    """Run one job. Returns its error line, which is empty if it succeeded."""
    problems: list[str] = []
    run_all([job], 1, lambda _, problem: problems.append(problem))
    return problems[0]


def _start(job: Job) -> subprocess.Popen:
    try:
        log = open(job.log, "wb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UserError(f"{job.log}: cannot be written ({storage_problem(error, job.log.parent)})") from error
    with log:
        return subprocess.Popen(job.command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent)


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _problem(job: Job) -> str:
    """The first error line in the log, or where the log is."""
    lines = job.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.split("error: ")[-1] for line in lines if "error:" in line), f"see {job.log}")

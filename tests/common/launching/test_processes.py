"""Programs as processes: some at a time, their line of error, and that none outlives who started it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from common.launching.processes import Job, run, run_all
from tests.helpers import ROOT, processes_with


def job(folder: Path, name: str, code: str) -> Job:
    return Job(name, [sys.executable, "-c", code], folder / f"{name}.log")


def test_all_are_run_and_each_one_s_error_is_told(tmp_path):
    ended: dict[str, str] = {}
    jobs = [
        job(tmp_path, "good", "print('fine')"),
        job(tmp_path, "bad", "import sys; sys.exit('error: no such scene')"),
        job(tmp_path, "mute", "import os; os._exit(3)"),
    ]
    run_all(jobs, 2, lambda done, problem: ended.update({done.name: problem}))
    assert ended == {"good": "", "bad": "no such scene", "mute": f"see {tmp_path / 'mute.log'}"}
    assert (tmp_path / "good.log").read_text() == "fine\n"


def test_no_more_run_at_once_than_asked_for(tmp_path):
    """Each says when it began and ended."""
    code = "import time; print(time.time()); time.sleep(0.5); print(time.time())"
    jobs = [job(tmp_path, str(number), code) for number in range(3)]
    run_all(jobs, 1, lambda done, problem: None)
    times = [float(line) for each in jobs for line in each.log.read_text().split()]
    assert times == sorted(times)


def test_one_alone_gives_its_error(tmp_path):
    assert run(job(tmp_path, "one", "raise SystemExit('error: x')")) == "x"


def test_a_program_ends_with_a_parent_that_is_killed(tmp_path):
    mark = f"sleeper {tmp_path}"
    text = (
        "import sys; from pathlib import Path; from common.launching.processes import Job, run; "
        f"run(Job('a', [sys.executable, '-c', 'import time; time.sleep(60)', {mark!r}], Path({str(tmp_path)!r}) / 'a'))"
    )
    parent = subprocess.Popen([sys.executable, "-c", text], cwd=ROOT)

    def children() -> list[int]:
        return [process for process in processes_with(mark) if process != parent.pid]

    deadline = time.monotonic() + 60
    while not children():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while children():
        assert time.monotonic() < deadline
        time.sleep(0.05)

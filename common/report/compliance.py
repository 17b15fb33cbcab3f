"""What mlperf-logging's own checker says about a log."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Optional

from rich.table import Table

from common import resources
from common.report import checker
from common.report.logs import RUN_LOG, RunLog
from common.report.tables import table

RULESETS = ("1.0.0", "2.0.0", "3.0.0")  # of MLPerf HPC
_NEWEST = RULESETS[-1]  # for logs that do not tell
_PACKAGES = resources.PACKAGE.parent  # the checker runs in another folder


def ruleset_of(run: RunLog) -> str:
    """The one that the log names, else its benchmark's, else the newest."""
    named = run.value("ruleset")
    if named in RULESETS:
        return str(named)
    return run.benchmark.ruleset if run.benchmark else _NEWEST


def verdicts(runs: list[RunLog]) -> dict[str, list[str]]:
    """What the checker says of each run, by the run's name: one line, "SUCCESS ...", if the log passes, else its
    complaints.

    A benchmark that MLPerf has no rules for is not checked, which is said instead.
    """
    checked = [run for run in runs if run.benchmark is None or run.benchmark.ruleset]
    with tempfile.TemporaryDirectory() as folder:
        answers = _ask([_words(run, Path(folder)) for run in checked], folder)
    lines = {run.name: _lines(ruleset_of(run), *answer) for run, answer in zip(checked, answers)}
    unchecked = {
        run.name: [f"not checked: MLPerf has no rules for {run.benchmark.title}"]
        for run in runs
        if run.benchmark is not None and run.name not in lines
    }
    return {run.name: {**lines, **unchecked}[run.name] for run in runs}


def _words(run: RunLog, folder: Path) -> list[str]:
    own_log = _place(run) or folder / "compliance.log"
    rules = ["--usage", "hpc", "--ruleset", ruleset_of(run)]
    return [*rules, "--log_output", str(own_log), str(run.path.resolve())]


def _ask(commands: list[list[str]], folder: str) -> list[tuple[int, str]]:
    """Exit code and output of the checker for each; a checker that dies at a log is started again behind it."""
    answers: list[tuple[int, str]] = []
    while len(answers) < len(commands):
        done = subprocess.run(
            [sys.executable, "-m", checker.__name__],
            input=json.dumps(commands[len(answers) :]),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_PACKAGES), os.environ.get("PYTHONPATH", "")])},
            capture_output=True,
            text=True,
        )
        parsed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        answers += [(each["code"], each["output"]) for each in parsed]
        if len(answers) < len(commands):
            answers.append((done.returncode, done.stderr[-2000:]))
    return answers


def _lines(ruleset: str, code: int, output: str) -> list[str]:
    if code == 0 and "SUCCESS" in output:
        return [f"SUCCESS ({checker.CHECKER} --usage hpc --ruleset {ruleset})"]
    # Its log lies in a folder that is gone by now, or beside a run's own.
    lines = [line.strip() for line in output.splitlines() if line.strip() and "Logging output also at" not in line]
    return lines or [f"the checker ended with exit code {code} and said nothing"]


def _place(run: RunLog) -> Optional[Path]:
    """For the checker's own log: beside the log of a run folder of ours."""
    place = run.path.resolve().with_name("compliance.log")
    return place if run.path.name == RUN_LOG and os.access(place.parent, os.W_OK) else None


def compliance_table(verdicts: dict[str, list[str]]) -> Optional[Table]:
    """verdicts: lines by the run's name. None if there are none."""
    form = table("Compliance", "run", "mlperf-logging's checker says", text=True)
    for name, lines in verdicts.items():
        for line in lines:
            form.add_row(name, line)
    return form if form.row_count else None

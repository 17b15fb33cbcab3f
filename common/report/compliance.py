"""What mlperf-logging's own checker says about a log."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Optional

from rich.table import Table

from common.report.logs import RunLog
from common.report.tables import table

RULESETS = ("1.0.0", "2.0.0", "3.0.0")  # of MLPerf HPC
_NEWEST = RULESETS[-1]  # for logs that do not tell


def ruleset_of(run: RunLog) -> str:
    """The one that the log names, else its benchmark's, else the newest."""
    named = run.value("ruleset")
    if named in RULESETS:
        return str(named)
    return run.benchmark.ruleset if run.benchmark else _NEWEST


def verdict(run: RunLog) -> list:
    """Lines of the checker: one, "SUCCESS ...", if the log passes, else its complaints.

    A benchmark that MLPerf has no rules for is not checked, which is said instead.
    """
    if run.benchmark is not None and not run.benchmark.ruleset:
        return [f"not checked: MLPerf has no rules for {run.benchmark.title}"]
    ruleset = ruleset_of(run)
    command = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "hpc", "--ruleset", ruleset]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--log_output", str(_place(run) or Path(folder) / "compliance.log"), str(run.path.resolve())],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if done.returncode == 0 and "SUCCESS" in done.stdout:
        return [f"SUCCESS (mlperf_logging.compliance_checker --usage hpc --ruleset {ruleset})"]
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return lines or [f"the checker ended with exit code {done.returncode} and said nothing"]


def _place(run: RunLog) -> Optional[Path]:
    """For the checker's own log: beside the log of a run folder of ours."""
    place = run.path.resolve().with_name("compliance.log")
    return place if run.path.name == "mlperf.log" and os.access(place.parent, os.W_OK) else None


def compliance_table(verdicts: dict[str, list[str]]) -> Optional[Table]:
    """verdicts: lines by the run's name. None if there are none."""
    form = table("Compliance", "run", "mlperf-logging's checker says", text=True)
    for name, lines in verdicts.items():
        for line in lines:
            form.add_row(name, line)
    return form if form.row_count else None

"""What mlperf-logging's own checker says about a log."""

import subprocess
import sys
import tempfile
from pathlib import Path

from common.report.mlperf_logs import RunLog

RULESET = "3.0.0"  # of MLPerf HPC, the one with DeepCAM


def verdict(run: RunLog) -> list:
    """Lines of the checker: one, "SUCCESS ...", if the log passes, else its complaints.

    CloudMask is no MLPerf HPC benchmark and has no rules to be checked against, which is said instead.
    """
    if run.value("submission_benchmark") == "cloudmask":
        return ["not checked: MLPerf has no rules for CloudMask"]
    command = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "hpc", "--ruleset", RULESET]
    with tempfile.TemporaryDirectory() as folder:  # it leaves a file where it runs
        done = subprocess.run(
            [*command, str(Path(run.path).resolve())],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if done.returncode == 0 and "SUCCESS" in done.stdout:
        return [f"SUCCESS (mlperf_logging.compliance_checker --usage hpc --ruleset {RULESET})"]
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return lines or [f"the checker ended with exit code {done.returncode} and said nothing"]

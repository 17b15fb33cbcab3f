"""What jobs/common.sh does about a lost rank, with stand-ins for Slurm and for the program."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers import ROOT


def job(folder: Path, last: str, code: int, **variables: str) -> subprocess.CompletedProcess:
    """A job script that ends with the line `last`, of a program that ends with `code`."""
    (folder / "recipe.yaml").touch()
    (folder / "bin").mkdir()
    for name, text in (
        (
            "scontrol",
            'case "$*" in "show hostnames "*) printf "node1\\nnode2\\nnode3\\n" ;; *) echo "scontrol $*" ;; esac',
        ),
        ("program", f'echo "called with: $*"; exit {code}'),
    ):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    script = f"set -euo pipefail; . {ROOT}/jobs/common.sh; parse recipe.yaml training.epochs=2; environment; {last}"
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "6", "SLURM_NNODES": "3", "SLURM_JOB_NODELIST": "node[1-3]"}
    known = {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "PYTHON": "program",
        "COMMAND": "cloudmask train",
        "HOME": "/",
    }
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env={**known, **slurm, **variables}, capture_output=True, text=True
    )


def test_a_job_runs_common_run_on_its_nodes(tmp_path):
    done = job(tmp_path, "run_with_restarts", 0, MIN_RANKS="4")
    assert done.returncode == 0, done.stderr
    words = (
        "-m common.run --restarts 3 --min-np 4 -np 6 -H node1:2,node2:2,node3:2 -- cloudmask train --config recipe.yaml"
    )
    assert done.stdout == f"called with: {words} training.epochs=2 output.run_name=cloudmask-7 --resume auto\n"


@pytest.mark.parametrize(
    ("code", "variables", "requeued"),
    [
        (137, {"REQUEUES": "2"}, True),
        (137, {"REQUEUES": "2", "SLURM_RESTART_COUNT": "1"}, True),
        (137, {"REQUEUES": "2", "SLURM_RESTART_COUNT": "2"}, False),
        (137, {}, False),
        (1, {"REQUEUES": "2"}, False),
        (143, {"REQUEUES": "2"}, False),
        (0, {"REQUEUES": "2"}, False),
    ],
)
def test_a_job_of_which_a_rank_was_killed_is_requeued_as_often_as_asked(tmp_path, code, variables, requeued):
    done = job(tmp_path, 'run_until_warned "$python" "${program[@]}"', code, **variables)
    assert ("scontrol requeue 7" in done.stdout) == requeued, done.stderr
    assert done.returncode == code

"""A benchmark registered by an entry point is trained, resumed, reported and launched by what common/ has."""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import ROOT, environment, kill_after, run

TOY = {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "toy"), str(ROOT)])}


@pytest.fixture
def settings(tmp_path) -> list:
    (tmp_path / "data").mkdir()
    for number in range(10):
        np.save(tmp_path / "data" / f"x{number}.npy", np.random.default_rng(number).random((8, 8), np.float32))
    return [f"data.folder={tmp_path}/data", f"output.folder={tmp_path}/runs"]


def weights(folder: Path) -> list:
    newest = sorted(folder.glob("checkpoints/step-*"))[-1]
    with np.load(newest / "state.npz") as arrays:
        return [arrays[name] for name in arrays.files]


def test_it_trains_on_two_ranks_shows_its_score_and_is_reported(settings, tmp_path):
    arguments = ["train", *settings, "output.run_name=two"]
    done = run("-m", "common.run", "-np", 2, "--", "toy", *arguments, cwd=tmp_path, **TOY)
    assert done.returncode == 0, done.stdout
    assert re.search(r"epoch   3 of 3: .* held out: loss 0\.\d{4}, f1 0\.\d{4}", done.stdout)
    assert "held-out\n" not in done.stdout
    folder = tmp_path / "runs" / "two"
    assert "| epoch | updates | seconds | samples/s | training loss | held-out loss | held-out F1 |" in (
        folder / "report.md"
    ).read_text(encoding="utf-8")
    assert (folder / "pictures" / "curves.png").stat().st_size > 10_000
    shown = run("-m", "common.report", folder, "--format", "markdown", cwd=tmp_path, **TOY)
    assert re.search(r"## Toy form\n\n\| Run \| Best F1 \|\n\| --- \| --- \|\n\| two \| 0\.\d\d \|", shown.stdout)
    assert "MLPerf has no rules for Toy" in shown.stdout
    elsewhere = run("-m", "common.report", folder, "--format", "markdown")  # where it is not registered
    assert elsewhere.returncode == 0
    assert "Toy form" not in elsewhere.stdout


def test_it_resumes_as_if_it_had_not_been_killed(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", TOY["PYTHONPATH"])
    often = ["training.checkpoints=steps", "training.save_frequency=1", "training.passes=20"]
    arguments = ["-m", "toy", "train", *settings, *often]
    assert run(*arguments, "output.run_name=whole").returncode == 0
    kill_after([*arguments, "output.run_name=killed"], tmp_path / "runs" / "killed", 5, 1)
    resumed = run("-m", "toy", "train", "--resume", tmp_path / "runs" / "killed")
    assert resumed.returncode == 0, resumed.stdout
    for ours, theirs in zip(weights(tmp_path / "runs" / "killed"), weights(tmp_path / "runs" / "whole")):
        np.testing.assert_array_equal(ours, theirs)
    more = run("-m", "toy", "train", "--resume", tmp_path / "runs" / "killed", "training.passes=21", "training.seed=9")
    assert "the run has training.seed: 1234, but 9 is requested now" in more.stdout


def test_it_is_launched_from_its_recipe_and_has_its_settings_shown(settings, tmp_path):
    (tmp_path / "toy.yaml").write_text("benchmark: toy\ntraining: {passes: 2}\n")
    launched = run("-m", "common.launch", "--site", "perlmutter", "--nodes", 2, tmp_path / "toy.yaml", **TOY)
    assert launched.returncode == 0, launched.stdout
    assert launched.stdout.startswith("sbatch --nodes=2 ")
    assert run("-m", "common.config", "program", tmp_path / "toy.yaml", **TOY).stdout == "toy train\n"
    assert "  passes: 2" in run("-m", "common.config", "show", "toy", tmp_path / "toy.yaml", **TOY).stdout
    unknown = run("-m", "common.config", "program", tmp_path / "toy.yaml")
    assert "there is no benchmark 'toy'" in unknown.stdout


def test_a_job_script_s_warning_reaches_it(settings, tmp_path):
    """By the variable that the job gives to its processes, whatever the program is called."""
    script = f"""
        source {ROOT}/jobs/common.sh
        (until ls {tmp_path}/runs/warned/checkpoints/step-* >/dev/null 2>&1; do sleep 0.2; done; kill -USR1 $$) &
        run_until_warned python -m toy train {" ".join(settings)} output.run_name=warned training.passes=100000 \\
            training.checkpoints=steps training.save_frequency=20
    """
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={**environment(), **TOY}, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 75, done.stdout + done.stderr
    assert "by SIGUSR1, with a checkpoint" in done.stderr
    lines = (tmp_path / "runs" / "warned" / "mlperf.log").read_text().splitlines()
    stop = next(line for line in reversed(lines) if "run_stop" in line)
    assert json.loads(stop.removeprefix(":::MLLOG "))["metadata"]["status"] == "aborted"

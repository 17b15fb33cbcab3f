"""A study as a user starts it, on tiny scenes: done, called again, killed and gone on with."""

import os
import signal
import subprocess
import time

import pytest

from tests.helpers import TINY, command, environment, errors, processes_with, records, run

STUDY = ["study.networks=[pixel]", "training.epochs=1", "inference.pictures=0", "output.tensorboard=false"]
STUDY += ["study.form=small", "study.scenes=4", "report.saved_model=false", "training.checkpoints=end"]


def arguments(folder, *more: str) -> list:
    places = [f"study.scenes_folder={folder}/scenes", f"output.folder={folder}/study"]
    return ["-m", "cloudmask", "study", *TINY, *STUDY, *places, *more]


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    output = run(*arguments(folder, "study.label_errors=[0.0,0.2]", "study.seeds=[5]"))
    assert output.returncode == 0, output.stdout
    return folder, output.stdout


@pytest.mark.slow
def test_it_leaves_ordinary_runs_a_table_and_a_picture(studied):
    folder, output = studied
    (truth,) = (each["truth"]["scores"] for each in records(folder / "study" / "pixel-bce-error20-seed5", "inference"))
    text = (folder / "study" / "study.md").read_text()
    assert f"{truth['network']['pixel_accuracy']:.4f} |" in text
    assert f"| the labels themselves | 1.0000 | {truth['labels']['pixel_accuracy']:.4f} |" in text
    assert (folder / "study" / "losses.png").stat().st_size > 5000
    assert "2 of 2: " in output
    reported = run("-m", "common.report", folder / "study", "--format", "csv")
    assert "pixel-bce-error20-seed5" in reported.stdout


@pytest.mark.slow
def test_what_is_done_is_not_done_again(studied):
    folder, _ = studied
    before = (folder / "study" / "pixel-bce-error0-seed5" / "metrics.jsonl").stat().st_mtime_ns
    output = run(*arguments(folder, "study.label_errors=[0.0,0.2]", "study.seeds=[5]"))
    assert "2 of 2 runs are done already" in output.stdout
    assert (folder / "study" / "pixel-bce-error0-seed5" / "metrics.jsonl").stat().st_mtime_ns == before


@pytest.mark.slow
def test_runs_of_other_settings_are_not_taken_for_this_study_s(studied):
    output = run(*arguments(studied[0], "study.label_errors=[0.0,0.2]", "study.seeds=[5]", "optimizer.start_lr=0.5"))
    (line,) = errors(output.stdout)
    assert "the run has optimizer.start_lr: 0.001, but 0.5 is requested now" in line
    assert output.returncode == 1


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_others_are_done(tmp_path):
    output = run(*arguments(tmp_path, "study.losses=[bce]", "study.seeds=[1]", "data.train_split=0.01"))
    assert output.returncode == 1
    assert "leave one side empty" in output.stdout


def test_an_unknown_network_is_answered_before_anything_runs(tmp_path):
    output = run(*arguments(tmp_path, "study.networks=[pixle]"))
    assert "did you mean 'pixel'?" in errors(output.stdout)[0]
    assert not (tmp_path / "scenes").exists()


@pytest.mark.slow
def test_killed_in_the_middle_the_same_command_goes_on(tmp_path):
    """kill -9 of the study alone: its runs end with it, the one that is done stays, the other is done."""
    words = arguments(tmp_path, "study.seeds=[1,2]", "study.at_once=1")
    process = subprocess.Popen(command(*words), env=environment(), stdout=subprocess.DEVNULL)
    first, second = (tmp_path / "study" / f"pixel-bce-error10-seed{seed}" for seed in (1, 2))
    deadline = time.monotonic() + 200
    while not (second / "config.yaml").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while processes_with(str(second)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done = (first / "metrics.jsonl").read_bytes()
    output = run(*words)
    assert output.returncode == 0, output.stdout
    assert "1 of 2 runs are done already" in output.stdout
    assert (first / "metrics.jsonl").read_bytes() == done
    assert len(records(second, "inference")) == 1

"""jobs/five_runs.sh and jobs/throughput.sh: seeds, names, failures; and real models trained at once."""

import subprocess

import pytest

from common.report import __main__ as report
from common.report.options import Options
from common.report.throughput import fit, instance_groups
from tests.helpers import ROOT, environment, run
from tests.tf_deepcam.samples import TINY, write_samples


def script(name: str, *words, cwd, **more) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "jobs" / name), *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment(**more))


def test_five_runs_follow_each_other_with_seeds_of_their_own(tmp_path):
    done = script("five_runs.sh", "bash", "-c", 'echo "$RUN_NAME $@"', "-", cwd=tmp_path, RUNS="3", NAME="five")
    lines = [line.split() for line in done.stdout.splitlines() if "training.seed" in line]
    assert [(name, named) for name, _, named in lines] == [
        (f"five-{n}", f"output.run_name=five-{n}") for n in (1, 2, 3)
    ]
    assert len({seed for _, seed, _ in lines}) == 3
    assert done.returncode == 0


def test_a_run_that_fails_ends_the_five_with_its_code(tmp_path):
    done = script("five_runs.sh", "bash", "-c", "[ $RUN_NAME != five-2 ] || exit 7", cwd=tmp_path, NAME="five")
    assert done.returncode == 7
    assert done.stderr == "error: run 2 of 5 ended with exit code 7; those before it are complete\n"
    assert script("five_runs.sh", cwd=tmp_path).returncode == 2


def test_instances_run_at_once_and_a_failed_one_is_named(tmp_path):
    wait = 'touch "at {}"; until [ -e "at 0" ] && [ -e "at 1" ]; do sleep 0.01; done; echo "$@"; exit {}'
    done = script("throughput.sh", 2, "bash", "-c", wait, "-", cwd=tmp_path, NAME="models")
    assert done.returncode == 1
    assert "error: 1 of 2 instances failed; see their output in models-1.out" in done.stderr
    words = [(tmp_path / f"models-{n}.out").read_text().split() for n in (0, 1)]
    assert [word[1:] for word in words] == [[f"submission.instance={n}", f"output.run_name=models-{n}"] for n in (0, 1)]
    assert len({word[0] for word in words}) == 2
    assert "key=value at its end" in script("throughput.sh", "two", "x", cwd=tmp_path).stderr


def test_a_second_result_of_one_name_leaves_the_first_s_output(tmp_path):
    """Nor does it start anything."""
    (tmp_path / "models-1.out").write_text("of the first")
    done = script("throughput.sh", 2, "touch", "started", cwd=tmp_path, NAME="models")
    assert done.returncode == 1
    assert done.stderr.startswith("error: models-*.out: there are such files already")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"models-1.out": "of the first"}


def test_two_results_in_one_second_get_different_names(tmp_path):
    """The clock stands still; five are started at once."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "date").write_text('#!/bin/sh\n[ "$1" = +%s ] && echo 7 || echo 20261122-101530\n')
    (tmp_path / "bin" / "date").chmod(0o755)
    variables = environment()
    variables["PATH"] = f"{tmp_path}/bin:{variables['PATH']}"
    words = ["bash", str(ROOT / "jobs" / "throughput.sh"), "1", "echo"]
    processes = [subprocess.Popen(words, cwd=tmp_path, env=variables, stdout=subprocess.DEVNULL) for _ in range(5)]
    assert [process.wait() for process in processes] == [0] * 5
    stems = ["models-20261122-101530", *(f"models-20261122-101530-{number}" for number in range(2, 6))]
    assert sorted(path.name for path in tmp_path.glob("*.out")) == sorted(f"{stem}-0.out" for stem in stems)
    for stem in stems:
        assert f"output.run_name={stem}-0" in (tmp_path / f"{stem}-0.out").read_text()


@pytest.mark.slow
def test_two_models_trained_at_once_are_one_throughput_result(tmp_path):
    write_samples(tmp_path / "data", 4, 2)
    settings = [*TINY, "training.target_iou=0.0001", "threads=1", f"data.data_dir_prefix={tmp_path}/data"]
    words = ["python", "-m", "tf_deepcam", "train", *settings, f"output.folder={tmp_path}/runs"]
    done = script("throughput.sh", 2, *words, cwd=ROOT, NAME="pair")
    for number in (0, 1):
        (ROOT / f"pair-{number}.out").unlink()
    assert done.returncode == 0, done.stderr
    runs = report.load([tmp_path / "runs"])
    (group,) = instance_groups(runs)
    models, pruned = fit(group, Options())
    assert (len(models), pruned) == (2, {})
    output = run("-m", "common.report", tmp_path / "runs")
    assert "pair-0 ... pair-1: all trained models" in output.stdout

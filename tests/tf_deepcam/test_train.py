"""The program as a user starts it, on tiny samples: what it leaves behind, its log, and how it ends on bad input."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.training import checkpoints
from tests.helpers import ROOT, errors, kill_after, records, run, write_hdf
from tests.tf_deepcam.samples import TINY, sample_arrays, write_samples
from tf_deepcam import config


def train(folder: Path, name: str, *more: str) -> list:
    settings = [f"data.data_dir_prefix={folder}/data", f"output.folder={folder}", "training.max_epochs=3"]
    return ["-m", "tf_deepcam", "train", *TINY, *settings, f"output.run_name={name}", *more]


def events(run_folder: Path) -> list:
    lines = (run_folder / "mlperf.log").read_text().splitlines()
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]


def compliance(log: Path, folder: Path) -> str:
    """What mlperf-logging's own checker says."""
    call = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "hpc", "--ruleset", "3.0.0", str(log)]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True).stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two ranks, closed-division settings, 7 training samples (3 updates of 2) and 3 for validation."""
    folder = tmp_path_factory.mktemp("deepcam")
    write_samples(folder / "data", 7, 3)
    settings = ["optimizer.optimizer=LAMB", "optimizer.max_grad_norm=1.0", "schedule.lr_schedule=multistep"]
    settings += ["schedule.milestones=[2]", "training.local_batch_size=1", "training.samples_per_statistic=2"]
    settings += ["submission.division=closed", "training.target_iou=0.0001", "training.local_batch_size_validation=2"]
    output = run(*train(folder, "closed", *settings), ranks=2)
    assert output.returncode == 0, output.stdout
    return folder, output.stdout


def test_a_run_leaves_everything_in_its_folder(trained):
    left = {path.name for path in (trained[0] / "closed").iterdir()}
    wanted = (
        "config.yaml environment.jsonl mlperf.log metrics.jsonl checkpoints model.keras model.npz pictures report.md"
    )
    assert left >= set(wanted.split())
    assert (trained[0] / "closed" / "pictures" / "sample-00.png").stat().st_size > 5000


def test_the_log_has_the_published_logs_keys_and_stops_at_the_target(trained):
    found = events(trained[0] / "closed")
    values = {event["key"]: event["value"] for event in found}
    assert (values["global_batch_size"], values["train_samples"], values["eval_samples"]) == (2, 7, 3)
    assert (values["opt_name"], values["scheduler_milestones"], values["batchnorm_group_size"]) == ("LAMB", [2], 2)
    assert (values["samples_per_statistic"], values["local_batch_size_validation"], values["rules"]) == (2, 2, "free")
    assert values["target_accuracy_reached"] == 0.0001
    keys = [event["key"] for event in found]
    assert keys.count("epoch_start") == keys.count("eval_stop") == keys.count("run_stop") == 1
    assert keys.index("init_stop") < keys.index("run_start") < keys.index("epoch_start")
    stats = next(event["value"] for event in found if event["key"] == "tracked_stats")
    assert 0 < stats["tflops_sustained"] <= stats["tflops_peak"]


def test_a_closed_division_log_is_compliant_once_counts_and_score_are_the_full_data_set_s(trained, tmp_path):
    text = (trained[0] / "closed" / "mlperf.log").read_text()
    (tmp_path / "as_run.log").write_text(text)
    assert "FAILED" in compliance(tmp_path / "as_run.log", tmp_path)  # 7 samples are not 121266
    for key, value in (("train_samples", 121266), ("eval_samples", 15158), ("eval_accuracy", 0.8212)):
        text, changed = re.subn(rf'("key": "{key}", "value": )[^,]+', rf"\g<1>{value}", text)
        assert changed == 1
    (tmp_path / "full.log").write_text(text)
    assert "SUCCESS" in compliance(tmp_path / "full.log", tmp_path)


MORE = [
    "training.local_batch_size=1",
    "training.checkpoints=steps",
    "training.save_frequency=1",
    "training.target_iou=0.999",
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One rank, open division, 8 training samples, a target that three epochs do not reach."""
    folder = tmp_path_factory.mktemp("alone")
    write_samples(folder / "data", 8, 3)
    output = run(*train(folder, "whole", *MORE))
    assert output.returncode == 0, output.stdout
    return folder, output.stdout


def test_an_open_division_log_is_compliant_and_a_missed_target_is_said(alone, tmp_path):
    folder, output = alone
    assert re.search(r"target not reached: iou 0\.\d+ < 0.999 after 3 epochs", output)
    assert events(folder / "whole")[-1]["metadata"]["status"] == "aborted"
    log = folder / "whole" / "mlperf.log"
    assert "FAILED" in compliance(log, tmp_path)  # no eval_accuracy of 0.82
    text = re.sub(r'("key": "eval_accuracy", "value": )[^,]+', r"\g<1>0.83", log.read_text())
    (tmp_path / "good.log").write_text(text)
    assert "SUCCESS" in compliance(tmp_path / "good.log", tmp_path)


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_resumed_is_bit_for_bit_the_run_in_one_go(alone, ranks):
    folder, whole = alone[0], "whole"
    if ranks > 1:
        whole = "on two"
        assert run(*train(folder, whole, *MORE), ranks=ranks).returncode == 0
    killed = f"killed on {ranks}"
    updates = 8 // ranks
    kill_after(train(folder, killed, *MORE), folder / killed, updates + 1, ranks)
    resumed = run("-m", "tf_deepcam", "train", "--resume", folder / killed, ranks=ranks)
    assert resumed.returncode == 0, resumed.stdout
    assert "resuming" in resumed.stdout
    one, two = (checkpoints.load_newest(folder / name / "checkpoints", pytest.fail) for name in (whole, killed))
    assert one.step == two.step == 3 * updates
    assert one.arrays.keys() == two.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(two.arrays[name], array, err_msg=name)
    scores = [[e["evaluation"] for e in records(folder / name, "epoch")][-1] for name in (whole, killed)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_bad_sample_stops_every_rank_with_one_line(tmp_path, ranks):
    write_samples(tmp_path / "data", 4, 2)
    bad = sample_arrays(9)
    bad["climate/labels_0"][3, 4] = 7
    (tmp_path / "data" / "train" / "data-2000-01-03-00-1.h5").unlink()
    write_hdf(tmp_path / "data" / "train" / "data-2000-01-03-00-1.h5", bad)
    output = run(*train(tmp_path, "bad"), ranks=ranks)
    assert output.returncode != 0
    (line,) = errors(output.stdout)
    assert "data-2000-01-03-00-1.h5: dataset 'climate/labels_0' holds 7; classes are 0 to 2" in line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.max_epoch=3"], "unknown key 'training.max_epoch': did you mean 'training.max_epochs'?"),
        (["data.channels=[0, 16]"], "'data.channels' must be different numbers from 0 to 15"),
        (["data.data_dir_prefix=''"], "data.data_dir_prefix is not set"),
        (["training.global_batch_size=3", "training.gradient_accumulation_frequency=2"], "use a multiple of 2"),
        (["model.checkpoint=nowhere.npz"], "nowhere.npz: no such file"),
    ],
)
def test_mistakes_in_settings_are_one_line(tmp_path, settings, message):
    write_samples(tmp_path / "data", 4, 2)
    output = run(*train(tmp_path, "wrong", *settings))
    assert output.returncode == 1
    (line,) = errors(output.stdout)
    assert message in line


def test_every_recipe_loads():
    recipes = sorted((ROOT / "config" / "deepcam").glob("*.yaml"))
    assert len(recipes) >= 9
    for path in recipes:
        settings = config.load(str(path))
        assert settings.training.target_iou in (0.0, 0.82), path


def test_convergence_points_are_mlperf_logging_s():
    import mlperf_logging

    source = Path(mlperf_logging.__file__).parent / "rcp_checker/hpc_3.0.0/rcps_deepcam.json"
    points = json.loads(source.read_text())
    assert len(points) == 5
    for name, point in points.items():
        settings = config.load(str(ROOT / "config" / "deepcam" / f"rcp_{point['BS']}.yaml"))
        given = point["Hyperparams"]
        assert settings.training.global_batch_size == given["global_batch_size"], name
        assert settings.optimizer.optimizer == given["opt_name"]
        assert settings.optimizer.start_lr == given["opt_lr"]
        assert settings.optimizer.weight_decay == given["opt_weight_decay"]
        assert settings.optimizer.clip_norm == given["opt_max_grad_norm"]
        assert settings.optimizer.eps == given["opt_eps"]
        assert settings.schedule.lr_schedule == given["scheduler_type"]
        assert settings.schedule.lr_warmup_steps == given["scheduler_lr_warmup_steps"]
        assert list(settings.schedule.milestones) == given.get("scheduler_milestones", [])
        assert settings.schedule.t_max == int(given.get("scheduler_t_max", settings.schedule.t_max))


@pytest.mark.slow
def test_one_step_of_the_benchmark_s_own_size(tmp_path):
    sizes = ["--train", 1, "--validation", 1, "--folder", tmp_path / "data"]
    assert run("-m", "tf_deepcam", "synthesize", *sizes).returncode == 0
    settings = [f"data.data_dir_prefix={tmp_path}/data", f"output.folder={tmp_path}", "output.run_name=full"]
    output = run("-m", "tf_deepcam", "train", *settings, "training.max_epochs=1", "training.target_iou=0", timeout=500)
    assert output.returncode == 0, output.stdout
    assert "training on 1 samples of 768 x 1152, 1 for validation" in output.stdout
    (gflop,) = re.findall(r"([0-9.]+) GFLOP per forward pass", output.stdout)
    assert float(gflop) == pytest.approx(659.5, rel=0.01)
    (epoch,) = records(tmp_path / "full", "epoch")
    assert epoch["step"] == 1
    # An untrained network of three classes: the loss is of the order of ln 3, the IoU far from 1.
    assert 0.3 < epoch["train"]["loss"] < 10
    assert 0 < epoch["evaluation"]["iou"] < 0.8

"""The program as a user starts it, on tiny scenes: what it leaves behind, and how it ends on bad input."""

import json
import os
import shutil
import subprocess
import time

import h5py
import numpy as np
import pytest

from cloudmask.config import DataSettings
from cloudmask.data import scenes as data
from tests.helpers import (
    HEIGHT,
    TINY,
    WIDTH,
    command,
    environment,
    errors,
    records,
    run,
    scene_arrays,
    write_hdf,
    write_scenes,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A whole run on ten scenes, settings in the reference's own form, with one scene that cannot be read."""
    folder = tmp_path_factory.mktemp("run")
    write_scenes(folder / "train" / "deeper", 10)
    paths = write_scenes(folder / "scenes", 3)
    arrays = scene_arrays(50)
    arrays["bts"][:, :9] = np.nan  # outside the swath
    write_hdf(folder / "scenes" / "S3A_swath.hdf", arrays)
    paths[1].write_bytes(paths[1].read_bytes()[:20000])
    (folder / "cloudModel.h5").write_text("an older model")
    settings = f"""
        benchmark: CloudMask
        organisation: some centre
        train_dir: {folder}/train
        inference_dir: {folder}/scenes
        model_file: {folder}/cloudModel.h5
        output_dir: {folder}/runs
        log_file: {folder}/cloudMask_Log
        mlperf_logfile: {folder}/mlperf.log
        PATCH_SIZE: 32
        IMAGE_H: {HEIGHT}
        IMAGE_W: {WIDTH}
        N_CHANNELS: 9
        CROP_SIZE: 8
        seed: 7
        learning_rate: 0.003
        epochs: 3
        batch_size: 6
        train_split: 0.8
        no_cache: False
        nodes: 1
        gpu: 1
    """
    (folder / "reference.yaml").write_text("\n".join(line.strip() for line in settings.splitlines()))
    output = run("-m", "cloudmask", "run", "--config", folder / "reference.yaml", "output.run_name=first")
    return folder, output


def test_a_run_leaves_everything_in_its_folder(trained):
    folder, _ = trained
    left = {path.name for path in (folder / "runs" / "first").iterdir()}
    expected = (
        "config.yaml environment.jsonl mlperf.log metrics.jsonl cloudmask.log checkpoints model.keras saved_model"
    )
    assert left >= set(f"{expected} baseline.json masks pictures report.md tensorboard".split())
    assert (folder / "runs" / "first" / "pictures" / "curves.png").stat().st_size > 5000
    assert len(list((folder / "runs" / "first" / "pictures").glob("S3A*.png"))) == 2


def test_one_bad_scene_is_reported_and_the_others_are_done(trained):
    folder, output = trained
    assert output.returncode == 1
    assert "failed: " in output.stdout
    assert "S3A_001.hdf" in output.stdout
    masks = {path.name for path in (folder / "runs" / "first" / "masks").iterdir()}
    assert masks == {"S3A_000.hdf.h5", "S3A_002.hdf.h5", "S3A_swath.hdf.h5"}
    (inference,) = records(folder / "runs" / "first", "inference")
    assert (inference["inferences"], inference["failed"]) == (3, ["S3A_001.hdf"])


def test_masks_are_probabilities_with_nan_outside_the_swath(trained):
    with h5py.File(trained[0] / "runs" / "first" / "masks" / "S3A_swath.hdf.h5") as file:
        mask = file["mask"]
        assert (mask.shape, mask.dtype) == ((1, HEIGHT, WIDTH, 1), np.float32)
        values = mask[0, :, :, 0]
        assert len(mask.attrs["model_sha256"]) == 64
        assert mask.attrs["threshold"] == 0.5
        assert mask.attrs["source"].endswith("scenes/S3A_swath.hdf")
    assert np.isnan(values[:, :9]).all()
    assert ((values[:, 9:] >= 0) & (values[:, 9:] <= 1)).all()


def test_the_reference_s_two_lines_are_written(trained):
    lines = (trained[0] / "cloudMask_Log").read_text().splitlines()
    assert lines[0].startswith("CloudMask training, samples = 10, epochs=3, bs=6, nodes=1, gpus=1, time_per_epoch=")
    assert lines[1].startswith("CloudMask inference, inferences=3, bs=6, nodes=1, gpus=1, time_per_inference=")
    assert float(lines[0].rsplit("=")[-1]) > 0


def test_the_mlperf_log_tells_the_run(trained):
    lines = (trained[0] / "mlperf.log").read_text().splitlines()
    events = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
    assert all(line.startswith(":::MLLOG ") for line in lines)
    values = {event["key"]: event["value"] for event in events}
    assert values["submission_org"] == "some centre"
    assert (values["global_batch_size"], values["train_samples"], values["eval_samples"]) == (6, 48, 12)
    keys = [event["key"] for event in events]
    for interval, count in {"init": 1, "run": 1, "epoch": 3, "eval": 3, "inference": 1}.items():
        assert keys.count(f"{interval}_start") == keys.count(f"{interval}_stop") == count
    first, last = keys.index("run_start"), keys.index("run_stop")
    assert keys.index("init_stop") < first
    assert {"epoch_start", "eval_start", "eval_stop", "epoch_stop"} >= {
        key for key in keys[first + 1 : last] if key.endswith(("_start", "_stop"))
    }
    assert last < keys.index("inference_start")
    assert events[last]["metadata"]["status"] == "success"
    assert events[0]["metadata"]["file"] == "common/session.py"


def test_the_model_is_delivered_and_the_older_one_kept(trained):
    folder, _ = trained
    assert (folder / "cloudModel.h5").stat().st_size > 1_000_000
    assert (folder / "cloudModel.h5.1").read_text() == "an older model"


def test_the_report_shows_network_and_baseline(trained):
    folder, output = trained
    report = (folder / "runs" / "first" / "report.md").read_text()
    scores = records(folder / "runs" / "first", "inference")[0]["scores"]
    for name in ("network", "baseline"):
        assert f"{scores[name]['pixel_accuracy']:.4f}" in report
        assert f"{scores[name]['pixel_accuracy']:.4f}" in output.stdout
    assert scores["baseline"]["pixel_accuracy"] > 0.99  # these labels are a threshold's


def test_a_taken_run_name_and_a_second_inference(trained):
    """`infer` finds model and baseline of an earlier run; the same name again is refused and nothing is touched."""
    folder, _ = trained
    settings = ["--config", folder / "reference.yaml", "inference.mode=tiles", "output.run_name=second"]
    arguments = ["-m", "cloudmask", "infer", *settings, f"inference.model_file={folder}/runs/first/model.keras"]
    first = run(*arguments)
    masks = folder / "runs" / "second" / "masks"
    before = {path: path.stat().st_mtime_ns for path in masks.iterdir()}
    again = run(*arguments)
    assert (first.returncode, again.returncode, len(before)) == (1, 1, 3)
    assert "threshold baseline (S8" in first.stdout
    assert len(errors(again.stdout)) == 1
    assert "second: exists already and is left as it is" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in masks.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "data.train_dir=/nowhere"], "/nowhere: no such folder"),
        (["train", "training.epocs=3"], "override 'training.epocs=3': unknown key 'training.epocs'"),
        (["infer", "data.train_dir={scenes}"], "inference.model_file is not set"),
        (["infer", "data.train_dir={scenes}", "inference.model_file=none.h5"], "none.h5: no such model"),
        (["train", "report.model_file=/proc/none/model.h5"], "/proc/none/model.h5: cannot be written"),
        (["train", "data.train_dir={scenes}", "training.local_batch_size=500"], "do not fill one global batch of 500"),
        (
            ["train", "data.train_dir={scenes}", "optimizer.start_lr=1e30"],
            "the loss is not a number or infinite at update",
        ),
    ],
)
def test_mistakes_end_with_one_line_and_exit_code_1(trained, tmp_path, arguments, message):
    command, *overrides = [text.format(scenes=trained[0] / "train") for text in arguments]
    output = run("-m", "cloudmask", command, *TINY, f"output.folder={tmp_path}", *overrides)
    assert output.returncode == 1
    assert len(errors(output.stdout)) == 1, output.stdout
    assert message in errors(output.stdout)[0]
    assert "Traceback" not in output.stdout
    began = "at update" in message
    assert bool(list(tmp_path.iterdir())) is began  # a run that failed before its timed part leaves no folder


def test_training_stops_at_the_target_and_resumes_there(trained, tmp_path):
    settings = [*TINY, f"data.train_dir={trained[0]}/train", f"output.folder={tmp_path}", "output.run_name=goal"]
    first = run("-m", "cloudmask", "train", *settings, "training.epochs=50", "training.target=0.05")
    assert first.returncode == 0, first.stdout
    assert "target reached: pixel_accuracy" in first.stdout
    assert len(records(tmp_path / "goal", "epoch")) == 1
    assert '"target_accuracy_reached", "value": 0.05' in (tmp_path / "goal" / "mlperf.log").read_text()
    again = run("-m", "cloudmask", "train", "--resume", tmp_path / "goal")
    assert again.returncode == 0, again.stdout
    assert len(records(tmp_path / "goal", "epoch")) == 1


def test_a_horovod_that_was_built_without_tensorflow_is_one_sentence(tmp_path):
    broken = tmp_path / "horovod" / "tensorflow"
    broken.mkdir(parents=True)
    (broken.parent / "__init__.py").touch()
    (broken / "__init__.py").write_text("raise ImportError('Extension horovod.tensorflow has not been built')")
    output = run("-m", "cloudmask", "train", PYTHONPATH=f"{tmp_path}:{os.getcwd()}")
    assert output.returncode == 1
    starting, line = output.stdout.splitlines()
    assert starting.startswith("starting: ")
    assert line.startswith("error: Horovod cannot be used with this TensorFlow (Extension horovod.tensorflow")


def test_a_file_that_vanishes_in_the_middle_ends_the_run(trained, tmp_path):
    """A later epoch reads the files again; one is gone by then. The checkpoints stay."""
    scenes = tmp_path / "scenes"
    shutil.copytree(trained[0] / "train", scenes)
    training_scenes, _ = data.split(data.list_scenes(str(scenes)), DataSettings())
    victim = training_scenes[0].path
    many = ["training.epochs=100", "data.shuffle_files=1", f"data.train_dir={scenes}", f"output.folder={tmp_path}/runs"]
    with subprocess.Popen(
        command("-m", "cloudmask", "train", *TINY, *many),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while not list((tmp_path / "runs").glob("*/checkpoints/step-*")):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
        os.unlink(victim)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors(output) == [f"error: {victim}: vanished during the run (No such file or directory)"]
    assert list((tmp_path / "runs").glob("*/checkpoints/step-*"))

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
from cloudmask.data.listing import list_scenes
from tests.cloudmask.sen3.products import NAME, product
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
    arrays["refs"][:, :9], arrays["bts"][:, :9] = 0.0, 0.0  # outside the swath
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


def test_masks_are_probabilities_of_every_pixel_as_the_reference_s(trained):
    with h5py.File(trained[0] / "runs" / "first" / "masks" / "S3A_swath.hdf.h5") as file:
        mask = file["mask"]
        assert (mask.shape, mask.dtype) == ((1, HEIGHT, WIDTH, 1), np.float32)
        values = mask[0, :, :, 0]
        assert len(mask.attrs["model_sha256"]) == 64
        assert (mask.attrs["threshold"], mask.attrs["missing"]) == (0.5, "reference")
        assert mask.attrs["source"].endswith("scenes/S3A_swath.hdf")
    assert ((values >= 0) & (values <= 1)).all()


def test_accuracy_is_told_over_all_and_over_measured_pixels(trained):
    """Side by side, in training and in inference; nothing but the swath's edge was not measured."""
    folder, output = trained
    values = records(folder / "runs" / "first", "inference")[0]["scores"]["network"]
    assert values["pixel_accuracy"] == values["accuracy_all_pixels"] != values["accuracy_measured_pixels"]
    held_out = records(folder / "runs" / "first", "epoch")[-1]["evaluation"]
    assert held_out["accuracy_all_pixels"] == held_out["accuracy_measured_pixels"] == held_out["pixel_accuracy"]
    for name in ("accuracy_all_pixels", "accuracy_measured_pixels"):
        assert f"{values[name]:.4f}" in output.stdout


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
    assert {"epoch_start", "eval_start", "eval_stop", "epoch_stop", "save_start", "save_stop"} >= {
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
    inference = records(folder / "runs" / "first", "inference")[0]
    scores = inference["scores"]
    assert f"| network, mean over 3 scenes | {inference['scene_means']['pixel_accuracy']:.4f} |" in report
    assert (
        f"error of the network's probabilities: {inference['calibration']['expected_calibration_error']:.4f}" in report
    )
    assert "![calibration](pictures/calibration.png)" in report
    for name in ("network", "baseline", "summary"):
        assert f"{scores[name]['pixel_accuracy']:.4f}" in report
        assert f"{scores[name]['pixel_accuracy']:.4f}" in output.stdout
    assert scores["baseline"]["accuracy_measured_pixels"] > 0.99  # these labels are a threshold's


@pytest.mark.slow
def test_a_taken_run_name_and_a_second_inference(trained):
    """`infer` finds model and baseline of an earlier run; the same name again is refused and nothing is touched."""
    folder, _ = trained
    settings = ["--config", folder / "reference.yaml", "inference.mode=tiles", "data.missing=mask"]
    settings += ["output.run_name=second"]
    arguments = ["-m", "cloudmask", "infer", *settings, f"inference.model_file={folder}/runs/first/model.keras"]
    first = run(*arguments)
    masks = folder / "runs" / "second" / "masks"
    before = {path: path.stat().st_mtime_ns for path in masks.iterdir()}
    again = run(*arguments)
    assert (first.returncode, again.returncode, len(before)) == (1, 1, 3)
    assert "Threshold baseline: cloud where S8 <=" in first.stdout
    assert errors(first.stdout) == ["error: 1 of 4 scenes could not be masked, as reported above; the others are done"]
    with h5py.File(masks / "S3A_swath.hdf.h5") as file:
        values = file["mask"][0, :, :, 0]
    assert np.isnan(values[:, :9]).all()
    assert ((values[:, 9:] >= 0) & (values[:, 9:] <= 1)).all()
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
            "is NaN or infinite at update",
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


def test_a_network_that_keras_cannot_save_is_refused_before_it_is_trained(trained, tmp_path):
    """As somebody would add one: a function and an entry."""
    program = tmp_path / "added.py"
    program.write_text("""
import tensorflow as tf
from cloudmask import __main__
from cloudmask.network import networks

def difference(layered=False):
    image = tf.keras.Input((None, None, 9))
    split_window = image[..., 6:7] - image[..., 7:8]
    return tf.keras.Model(image, tf.keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(split_window))

networks.NETWORKS["pixel"] = networks.Network(difference, 8, 8)
__main__.main()
""")
    settings = [
        *TINY,
        "model.network=pixel",
        f"data.train_dir={trained[0]}/train",
        f"output.folder={tmp_path}/runs",
    ]
    done = run(program, "train", *settings, PYTHONPATH=os.getcwd())
    assert done.returncode == 1
    (line,) = errors(done.stdout)
    assert "the network cannot be saved, so it is not trained: Cannot serialize object Ellipsis" in line
    assert not list((tmp_path / "runs").iterdir())


def test_infer_takes_a_run_s_folder_its_checkpoint_and_its_settings(trained, tmp_path):
    """As after a training that failed at its end: no model.keras. All scenes but one are masked as they were."""
    run_folder = tmp_path / "failed"
    shutil.copytree(trained[0] / "runs" / "first", run_folder)
    (run_folder / "model.keras").unlink()
    settings = [*TINY, f"inference.inference_dir={trained[0]}/scenes", f"inference.model_file={run_folder}"]
    settings += ["inference.mode=reference", "inference.crop_size=8"]  # as in the run
    done = run("-m", "cloudmask", "infer", *settings, f"output.folder={tmp_path}/runs", "output.run_name=a")
    assert errors(done.stdout) == ["error: 1 of 4 scenes could not be masked, as reported above; the others are done"]
    assert f"as in the training, {run_folder}/config.yaml: data.missing=reference" in done.stdout
    (before,), (after,) = (records(folder, "inference") for folder in (run_folder, tmp_path / "runs" / "a"))
    for name in ("network", "baseline"):
        assert after["scores"][name] == pytest.approx(before["scores"][name], abs=1e-6)
    report = (tmp_path / "runs" / "a" / "report.md").read_text()
    assert "3 of 4 scenes (reference, float32) on 1 ranks" in report
    assert '"status": "aborted"' in (tmp_path / "runs" / "a" / "mlperf.log").read_text()


def test_a_run_that_masked_nothing_has_no_rate(trained, tmp_path):
    (tmp_path / "scenes").mkdir()
    for number in range(2):
        (tmp_path / "scenes" / f"S3A_{number}.hdf").write_bytes(b"torn")
    settings = [*TINY, f"inference.inference_dir={tmp_path}/scenes", f"output.folder={tmp_path}", "output.run_name=a"]
    done = run("-m", "cloudmask", "infer", *settings, f"inference.model_file={trained[0]}/runs/first/model.keras")
    assert done.returncode == 1
    assert "2 of 2 scenes could not be masked" in errors(done.stdout)[0]
    assert ", 0.00 samples/s" in done.stdout
    assert "| end to end, all ranks | - |" in (tmp_path / "a" / "report.md").read_text()
    stop = [line for line in (tmp_path / "a" / "mlperf.log").read_text().splitlines() if '"run_stop"' in line]
    assert '"status": "aborted"' in stop[-1]
    assert not (tmp_path / "a" / "cloudmask.log").exists()


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    folder = tmp_path_factory.mktemp("products")
    product(folder)
    product(folder, NAME.replace("S3B", "S3A"), seed=2, zenith=100.0)
    return folder


@pytest.mark.slow
def test_products_are_masked_where_they_lie(trained, products, tmp_path):
    """Twice, with masks in both forms, scored by kind of pixel."""
    arguments = [*TINY, f"inference.inference_dir={products}", "inference.output=both", "inference.num_runs=2"]
    arguments += [f"inference.model_file={trained[0]}/runs/first/model.keras", f"output.folder={tmp_path}"]
    done = run("-m", "cloudmask", "infer", *arguments, "output.run_name=a")
    assert done.returncode == 0, done.stdout
    assert "run 2 of 2: " in done.stdout
    masks = {path.name for path in (tmp_path / "a" / "masks").iterdir()}
    names = [path.name for path in products.iterdir()]
    assert masks == {f"{name}.h5" for name in names} | {name.replace(".SEN3", ".nc") for name in names}
    (found,) = records(tmp_path / "a", "inference")
    assert (found["inferences"], found["runs"], found["failed"]) == (2, 2, [])
    assert set(found["strata"]) == {"day", "night", "land", "ocean"}
    assert set(found["strata"]["night"]) == {"network", "baseline", "summary"}
    assert found["strata"]["day"]["network"]["pixels"] == HEIGHT * WIDTH
    assert found["scores"]["summary"]["pixel_accuracy"] == 1.0
    report = (tmp_path / "a" / "report.md").read_text()
    accuracy = found["strata"]["night"]["network"]["pixel_accuracy"]
    assert f"| night | network | {HEIGHT * WIDTH} | {accuracy:.4f} |" in report
    timed = json.loads((tmp_path / "a" / "inference.json").read_text())
    assert len(timed["runs"]) == 2
    assert len(list((tmp_path / "a" / "pictures").glob("S3*.png"))) == 2


@pytest.mark.slow
def test_training_on_products(products, tmp_path):
    for number in range(3):
        product(tmp_path / "more", NAME.replace("20200101T101500", f"2020010{number + 2}T101500"), seed=number)
    settings = [*TINY, f"data.train_dir={tmp_path}/more", "data.train_split=0.6", "data.sen3=physical"]
    done = run("-m", "cloudmask", "train", *settings, "training.epochs=1", f"output.folder={tmp_path}/runs")
    assert done.returncode == 0, done.stdout
    assert "training on 1 scenes (6 patches), 2 scenes held out (12 patches)" in done.stdout


def test_reading_alone_needs_no_model(products, tmp_path):
    settings = [*TINY, f"inference.inference_dir={products}", "inference.mode=io", f"output.folder={tmp_path}"]
    done = run("-m", "cloudmask", "infer", *settings, "output.run_name=a", "inference.readers=2")
    assert done.returncode == 0, done.stdout
    assert "reading 2 scenes (io, float32)" in done.stdout
    assert not (tmp_path / "a" / "masks").exists()
    (found,) = records(tmp_path / "a", "inference")
    assert found["read"]["count"] == 2
    assert found["read"]["mean"] > 0 == found["compute"]["mean"]


@pytest.mark.slow
def test_a_grid_over_modes(trained, products, tmp_path):
    settings = [*TINY, f"inference.inference_dir={products}", f"output.folder={tmp_path}", "output.run_name=a"]
    settings += [f"inference.model_file={trained[0]}/runs/first/model.keras"]
    axes = ["--axis", "inference.mode=whole,io", "--axis", "threads=0"]
    done = run("-m", "cloudmask", "grid", *axes, *settings)
    assert done.returncode == 0, done.stdout
    cells = json.loads((tmp_path / "a" / "grid.json").read_text())
    assert [cell["mode"] for cell in cells] == ["whole", "io"]
    assert (tmp_path / "a" / "grid.png").stat().st_size > 5000
    assert "threads: 0" in done.stdout  # the best, to paste into a config


@pytest.mark.slow
def test_products_are_converted_by_two_ranks_and_one_bad_one_is_said(products, tmp_path):
    shutil.copytree(products, tmp_path / "products")
    torn = next((tmp_path / "products").glob("S3B*"))
    (torn / "S4_radiance_an.nc").unlink()
    options = ["--target", tmp_path / "scenes", "--like", "physical"]
    arguments = ["-m", "cloudmask", "convert", tmp_path / "products", *options]
    done = run(*arguments, ranks=2)
    assert done.returncode == 1
    assert "S4_radiance_an.nc is missing: the product is not whole" in done.stdout
    assert "1 of 2 products converted like physical" in done.stdout
    assert len(errors(done.stdout)) == 1
    assert "1 of 2 products could not be converted" in errors(done.stdout)[0]
    (scene,) = (tmp_path / "scenes").iterdir()
    with h5py.File(scene) as file:
        assert set(file) == set(
            ["refs", "bts", "bayes", "summary", "latitude", "longitude", "solar_zenith", "confidence"]
        )
        assert file["confidence"].attrs["flag_meanings"].split()[3] == "land"
    before = scene.stat().st_mtime_ns
    again = run("-m", "cloudmask", "convert", products, *options)
    assert "1 of 2 products converted like physical" in again.stdout
    assert scene.stat().st_mtime_ns == before


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


@pytest.mark.slow
def test_a_file_that_vanishes_in_the_middle_ends_the_run(trained, tmp_path):
    """A later epoch reads the files again; one is gone by then. The checkpoints stay."""
    scenes = tmp_path / "scenes"
    shutil.copytree(trained[0] / "train", scenes)
    training_scenes, _ = data.split(list_scenes(str(scenes)), DataSettings())
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

"""The inference benchmark: every form of input gives the same values, runs are timed, mistakes are said."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.errors import UserError
from common.keras import files as keras_files
from common.measuring import timing
from common.runs import kinds
from common.training import checkpoints
from tests.helpers import errors, run
from tests.tf_deepcam.samples import HEIGHT, WIDTH, sample_arrays, write_samples
from tf_deepcam.config import DataSettings, ModelSettings
from tf_deepcam.data import formats, staging
from tf_deepcam.data import samples as data
from tf_deepcam.network import deeplab as model
from tf_deepcam.network import trained, weights
from tf_deepcam.tools import convert

CHANNELS = tuple(range(16))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """The same five samples as HDF5, as .npy in both types, and staged; and a tiny network."""
    root = tmp_path_factory.mktemp("inputs")
    write_samples(root, 5, 1)
    for dtype in ("float32", "float16"):
        assert convert.main(str(root / "train"), str(root / dtype), dtype) == 0
    settings = DataSettings(data_dir_prefix=str(root), stage_dir=str(root / "staged"), stage_dtype="float32")
    samples = data.list_samples(settings, "train")
    place = staging.Staging(settings, (HEIGHT, WIDTH, 16), data.reader(samples, settings))
    assert place.stage(samples, 2) == 5
    network = model.deeplab(width=0.05, middle_blocks=1)
    keras_files.save(network, root / "model.keras")
    weights.save(network, root / "model.npz")
    return root


def read_all(source: formats.SampleSet) -> list:
    batches = [[array.numpy() for array in batch] for batch in source.batches(2, 2).dataset()]
    return [np.concatenate(arrays) for arrays in zip(*batches)]


@pytest.mark.parametrize(
    ("folder", "form", "tolerance"),
    [("train", "hdf5", 1e-6), ("float32", "npy", 1e-6), ("float16", "npy", 5e-4), ("staged", "staged", 1e-6)],
)
def test_every_form_gives_the_same_samples(inputs, folder, form, tolerance):
    source = formats.find((str(inputs / folder),), CHANNELS, "")
    assert (source.form, len(source.files), source.labels) == (form, 5, True)
    fields, labels = read_all(source)
    expected = [sample_arrays(number) for number in range(5)]
    np.testing.assert_allclose(fields, np.stack([e["climate/data"] for e in expected]) / 100, atol=tolerance)
    np.testing.assert_array_equal(labels, np.stack([e["climate/labels_0"] for e in expected]))


def test_several_folders_and_a_subset_of_channels(inputs):
    folders = (str(inputs / "validation"), str(inputs / "train"))
    source = formats.find(folders, (8, 0), "")
    fields, _ = read_all(source)
    assert fields.shape == (6, HEIGHT, WIDTH, 2)
    np.testing.assert_allclose(fields[0], sample_arrays(5)["climate/data"][..., [8, 0]] / 100, atol=1e-6)
    half = formats.find((str(inputs / "float16"),), (8, 0), "")
    np.testing.assert_allclose(read_all(half)[0], fields[1:], atol=5e-4)


def test_samples_without_labels_are_read_too(inputs, tmp_path):
    for path in (inputs / "float16").glob("data-*.npy"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    source = formats.find((str(tmp_path),), CHANNELS, "")
    assert not source.labels
    (fields,) = read_all(source)
    assert fields.shape == (5, HEIGHT, WIDTH, 16)


def test_dali_reads_the_same_values(inputs):
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is optional and not installed")
    from tf_deepcam.data.dali import DaliBatches

    for folder in ("float32", "float16"):
        source = formats.find((str(inputs / folder),), CHANNELS, "")
        batches = DaliBatches(source, 2, 2)
        for _ in range(2):  # every pass begins anew
            ours = [np.concatenate(arrays) for arrays in zip(*([a.numpy() for a in b] for b in batches.dataset()))]
            for mine, theirs in zip(ours, read_all(source)):
                np.testing.assert_allclose(mine, theirs, atol=1e-6)
    with pytest.raises(UserError, match=r"dali reads \.npy samples of all 16 channels, these are hdf5"):
        DaliBatches(formats.find((str(inputs / "train"),), CHANNELS, ""), 2, 2)


def test_folders_that_cannot_be_read_together(inputs, tmp_path):
    with pytest.raises(UserError, match="hdf5 and npy samples cannot be mixed"):
        formats.find((str(inputs / "train"), str(inputs / "float16")), CHANNELS, "")
    with pytest.raises(UserError, match="holds no samples"):
        formats.find((str(tmp_path),), CHANNELS, "")
    (tmp_path / "data-1.npy").write_bytes((inputs / "float16" / "data-2000-01-01-00-1.npy").read_bytes()[:5000])
    source = formats.find((str(tmp_path),), CHANNELS, "")
    with pytest.raises(tf.errors.OpError):
        read_all(source)


def test_a_truncated_npy_file_is_named(inputs, tmp_path):
    path = tmp_path / "data-1.npy"
    path.write_bytes((inputs / "float16" / "data-2000-01-01-00-1.npy").read_bytes()[:5000])
    source = formats.find((str(tmp_path),), CHANNELS, "")
    with pytest.raises(UserError, match=r"data-1\.npy ends after \d+ of \d+ bytes: the file is truncated"):
        source.batches(1, 1).load(0)


def test_networks_come_from_keras_files_weights_and_run_folders(inputs, tmp_path):
    image = np.random.default_rng(0).random((1, HEIGHT, WIDTH, 16), dtype=np.float32)
    expected = tf.keras.models.load_model(inputs / "model.keras")(image)
    settings = ModelSettings(width=0.05, middle_blocks=1)
    for name in ("model.keras", "model.npz"):
        network = trained.load(str(inputs / name), settings, 16)
        np.testing.assert_allclose(network(image), expected, atol=1e-6)
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {width: 0.05, middle_blocks: 1}\n")
    lines = []
    for step, score in ((10, 0.5), (20, 0.7), (30, 0.6)):
        for variable in network.variables:
            variable.assign(np.full(variable.shape, step, np.float32))
        arrays = {f"network/{n:04d}/{v.name}": v.numpy() for n, v in enumerate(network.variables)}
        checkpoints.save(folder / "checkpoints", step, arrays, {}, keep=3)
        record = kinds.Epoch(step=step, epoch=1, seconds=1.0, evaluation={"iou": score})
        lines.append(json.dumps(kinds.as_json(record)))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    best = trained.load(str(folder), settings, 16)
    assert float(best.variables[0].numpy().ravel()[0]) == 20.0
    with pytest.raises(UserError, match="no such file or folder"):
        trained.load(str(tmp_path / "none.keras"), settings, 16)


@pytest.mark.parametrize("width", [0.05, 0.25, 0.4, 0.77, 1.0, 1.5])
def test_the_width_is_found_from_the_channels(width):
    def wide(number: int, factor: float) -> int:
        return max(8, round(number * factor / 8) * 8)

    bases = trained._CHANNELS.values()
    found = trained._width({base: wide(base, width) for base in bases})
    assert [wide(base, found) for base in bases] == [wide(base, width) for base in bases]


def test_measured_runs_are_counted_from_barrier_to_slowest_rank():
    said = []
    runs = timing.measure(lambda: timing.Work(4, 2_000_000_000), 2, 3, said.append)
    assert (len(runs), len(said)) == (3, 5)
    made = timing.Measured(2.0, [1.5, 2.0], [3, 5], [10**9, 3 * 10**9])
    assert (made.samples_per_second, made.gigabytes_per_second, made.slowest_rank) == (4.0, 2.0, 1)
    found = timing.statistics([made, timing.Measured(4.0, [4.0, 3.0], [3, 5], [10**9, 3 * 10**9])])
    assert found["seconds"]["mean"] == found["seconds"]["median"] == 3.0
    assert found["samples_per_second"]["standard_deviation"] == pytest.approx(2**0.5)


@pytest.mark.slow
def test_the_benchmark_on_two_ranks(inputs, tmp_path):
    settings = [f"inference.data_dirs=[{inputs}/float16]", f"output.folder={tmp_path}", "output.run_name=two"]
    settings += [
        f"inference.model_file={inputs}/model.npz",
        "model.width=0.05",
        "model.middle_blocks=1",
        "inference.batch_size=4",
    ]
    settings += ["inference.num_runs=2", "inference.predictions=labels", f"inference.outputfile={tmp_path}/out"]
    output = run("-m", "tf_deepcam", "infer", *settings, ranks=2)
    assert output.returncode == 0, output.stdout
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["samples"], result["ranks"], len(result["runs"])) == (5, 2, 2)
    assert [each["rank_samples"] for each in result["runs"]] == [[2, 3]] * 2
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [(row["run"], row["rank"], row["samples"]) for row in rows[:2]] == [("1", "0", "2"), ("1", "1", "3")]
    written = sorted((tmp_path / "two" / "predictions").iterdir())
    assert len(written) == 5
    network = trained.load(f"{inputs}/model.npz", ModelSettings(width=0.05, middle_blocks=1), 16)
    fields, labels = read_all(formats.find((str(inputs / "float16"),), CHANNELS, ""))
    expected = np.argmax(network(fields), -1)
    found = np.stack([np.load(path) for path in written])
    assert np.mean(found == expected) > 0.999
    scores = []
    for mine, truth in zip(found, labels):
        pairs = [(np.sum((mine == k) & (truth == k)), np.sum((mine == k) | (truth == k))) for k in range(3)]
        scores.append(np.mean([both / either if either else 1.0 for both, either in pairs]))
    assert result["iou"] == pytest.approx(np.mean(scores), abs=1e-6)
    again = run("-m", "tf_deepcam", "infer", *settings[:5], "inference.batch_size=3", "output.run_name=three", ranks=2)
    assert again.returncode == 1
    assert "inference.batch_size 3 cannot be divided evenly among 2 ranks" in "".join(errors(again.stdout))


@pytest.mark.slow
def test_the_grid_names_the_best_and_goes_on_after_a_failure(inputs, tmp_path):
    settings = [f"inference.data_dirs=[{inputs}/float16]", f"output.folder={tmp_path}", "output.run_name=grid"]
    axes = ["--axis", "inference.max_inter_threads=1,2", "--axis", "inference.max_intra_threads=1"]
    output = run("-m", "tf_deepcam", "grid", *axes, *settings, "inference.mode=io")
    assert output.returncode == 0, output.stdout
    assert "to paste into a config:\ninference:\n  max_inter_threads: " in output.stdout
    cells = json.loads((tmp_path / "grid" / "grid.json").read_text())
    assert [cell["max_inter_threads"] for cell in cells] == [1, 2]
    assert all(cell["samples_per_second"] > 0 for cell in cells)
    assert (tmp_path / "grid" / "grid.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("inference.model_file=''", "inference.model_file is not set"),
        ("inference.enable_trt=true", "inference.enable_trt: no GPU: it needs an NVIDIA GPU"),
        ("inference.outputfile=/nowhere/out", "/nowhere/out.json: its folder does not exist"),
    ],
)
def test_mistakes_end_with_one_line(inputs, tmp_path, setting, message):
    settings = [f"inference.data_dirs=[{inputs}/float16]", f"inference.model_file={inputs}/model.npz"]
    settings += ["model.width=0.05", "model.middle_blocks=1", f"output.folder={tmp_path}"]
    output = run("-m", "tf_deepcam", "infer", *settings, setting)
    assert output.returncode == 1
    (line,) = errors(output.stdout)
    assert message in line

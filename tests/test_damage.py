"""Random damage to files: whatever was done to them, one line or a result, never a traceback, in bounded time.

The same cases in every run; `make fuzz` tries many more, and other ones each time.
"""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudmask import config as cloudmask_config
from cloudmask.config import DataSettings
from cloudmask.data import ancillary
from cloudmask.data.patches import read_patches
from common.cli.registry import benchmarks
from common.config.recipes import benchmark_of
from common.errors import UserError
from common.keras.files import load_weights
from common.report import generic, log_files
from common.report.extension import extension_of
from common.report.olympic import olympic_table
from common.report.options import Options
from common.report.page import page
from common.report.throughput import throughput_table
from common.runs.records import read_records
from common.training import checkpoints
from tests.cloudmask.sen3.products import product
from tests.cloudmask.sen3.test_forms import zipped
from tests.cloudmask.sen3.zarr_products import needs_zarr, to_zarr
from tests.common.report.test_report import write_log
from tests.helpers import HEIGHT, PATCH, ROOT, WIDTH, scene_arrays, write_hdf
from tests.tf_deepcam.samples import HEIGHT as SAMPLE_HEIGHT
from tests.tf_deepcam.samples import WIDTH as SAMPLE_WIDTH
from tests.tf_deepcam.samples import sample_arrays, write_stats
from tf_deepcam import config as deepcam_config
from tf_deepcam.data.samples import Normalisation, Reader, read_normalisation, sample_format
from tf_deepcam.network import deeplab, weights

LONG = bool(os.environ.get("LONG"))
SETTINGS = {
    "derandomize": not LONG,
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    "database": None,
}


def cases(count: int) -> settings:
    return settings(max_examples=100 * count if LONG else count, **SETTINGS)


DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["change", "cut", "insert", "repeat"]), st.floats(0, 1), st.binary(min_size=1, max_size=6)
    ),
    min_size=1,
    max_size=6,
)


def damaged(content: bytes, damage: list) -> bytes:
    for kind, where, new in damage:
        place = int(where * len(content))
        if kind == "change":
            content = content[:place] + new + content[place + len(new) :]
        elif kind == "cut":
            content = content[:place]
        elif kind == "insert":
            content = content[:place] + new + content[place:]
        else:
            content = content[:place] + content[place : place + 200] * 3 + content[place + 200 :]
    return content


def said_by(work) -> str:
    """The UserError's message, empty if there was none; anything else is a failure."""
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


PRODUCT_FILES = [
    *("S1_radiance_an.nc", "S5_quality_an.nc", "S8_BT_in.nc", "geometry_tn.nc"),
    *("flags_in.nc", "geodetic_in.nc", "indices_an.nc"),
]
RECIPES = sorted(path.read_bytes() for path in (ROOT / "config").rglob("*.yaml"))


@given(st.sampled_from(RECIPES), DAMAGE)
@cases(150)
def test_recipes(tmp_path_factory, recipe, damage):
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(damaged(recipe, damage))
    for load in (cloudmask_config.load, deepcam_config.load, benchmark_of):
        assert "\n" not in said_by(lambda load=load: load(str(path)))


KEYS = ["training.epochs", "data.train_dir", "threads", "optimizer.optimizer_betas", "a", "", ".", "data", "training.."]
VALUES = st.one_of(
    st.text(max_size=40), st.integers().map(str), st.floats().map(str), st.sampled_from(["[", "{a: ", "&a [*a]", "!!x"])
)


@given(st.sampled_from(KEYS), VALUES)
@cases(200)
def test_overrides(key, value):
    assert "\n" not in said_by(lambda: cloudmask_config.load(None, [f"{key}={value}"]))


@given(DAMAGE)
@cases(60)
def test_logs(tmp_path_factory, damage):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "damaged.log"
    path.write_bytes(damaged(write_log(folder / "whole.log").read_bytes(), damage))
    try:
        runs = log_files.read(path)
    except UserError:
        return
    options = Options()
    assert generic.runs_table(runs, options).row_count
    for benchmark in benchmarks().values():
        for form in extension_of(benchmark).forms:
            if all(run.benchmark for run in runs):
                assert form(runs, options)
    olympic_table(runs, options)
    throughput_table(runs, options)
    generic.problems_table(runs)
    assert page(runs, options, {})


@given(st.binary(max_size=400), DAMAGE)
@cases(100)
def test_records(tmp_path_factory, content, damage):
    path = tmp_path_factory.getbasetemp() / "metrics.jsonl"
    path.write_bytes(damaged(content + b'\n{"kind": "step", "step": 3}\n{"kind": "resume", "step": 1}\n', damage))
    assert all(isinstance(record, dict) for record in read_records(path))


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> bytes:
    return write_hdf(tmp_path_factory.mktemp("scene") / "S3A_1.hdf", scene_arrays(1)).read_bytes()


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> bytes:
    return write_hdf(tmp_path_factory.mktemp("sample") / "data-1.h5", sample_arrays(1), chunks=True).read_bytes()


# Most of a file is numbers, where damage is other numbers; what describes them stands at its beginning.
HEAD = st.lists(
    st.tuples(st.sampled_from(["change", "cut", "insert"]), st.floats(0, 0.04), st.binary(min_size=1, max_size=6)),
    min_size=1,
    max_size=4,
)


@given(st.one_of(DAMAGE, HEAD))
@cases(150)
def test_scenes(tmp_path_factory, scene, damage):
    path = tmp_path_factory.getbasetemp() / "S3A_damaged.hdf"
    path.write_bytes(damaged(scene, damage))
    size = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH)
    assert "S3A_damaged.hdf" in (said_by(lambda: read_patches(str(path), size)) or "S3A_damaged.hdf")


@pytest.fixture(scope="module")
def product_folder(tmp_path_factory):
    return product(tmp_path_factory.mktemp("product"))


@given(st.sampled_from(PRODUCT_FILES), st.sampled_from(["dataset", "physical"]), st.one_of(DAMAGE, HEAD))
@cases(150)
def test_products(product_folder, name, like, damage):
    path = product_folder / name
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, damage))
    size = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH, sen3=like)
    try:
        assert product_folder.name in (said_by(lambda: read_patches(str(product_folder), size)) or product_folder.name)
        said_by(lambda: ancillary.read(str(product_folder), (HEIGHT, WIDTH)))
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def archive(product_folder):
    return zipped(product_folder, product_folder.parent / f"{product_folder.name}.zip")


@given(st.one_of(DAMAGE, HEAD))
@cases(100)
def test_archives(tmp_path_factory, archive, damage):
    path = tmp_path_factory.getbasetemp() / "S3A_SL_1_damaged.zip"
    path.write_bytes(damaged(archive.read_bytes(), damage))
    size = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH)
    assert path.name in (said_by(lambda: read_patches(str(path), size)) or path.name)


@pytest.fixture(scope="module", params=[2, 3])
def zarr_folder(request, tmp_path_factory, product_folder):
    needs_zarr(request.param)
    return to_zarr(product_folder, tmp_path_factory.mktemp("zarr"), request.param, "zstd")


@given(st.floats(0, 0.999), st.one_of(DAMAGE, HEAD))
@cases(100)
def test_products_in_zarr(zarr_folder, which, damage):
    files = sorted(path for path in zarr_folder.rglob("*") if path.is_file())
    path = files[int(which * len(files))]
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, damage))
    size = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH, labels="summary")
    try:
        assert zarr_folder.name in (said_by(lambda: read_patches(str(zarr_folder), size)) or zarr_folder.name)
        said_by(lambda: ancillary.read(str(zarr_folder), (HEIGHT, WIDTH)))
    finally:
        path.write_bytes(whole)


@given(st.one_of(DAMAGE, HEAD))
@cases(150)
def test_samples(tmp_path_factory, sample, damage):
    path = tmp_path_factory.getbasetemp() / "data-damaged.h5"
    path.write_bytes(damaged(sample, damage))
    read = Reader((SAMPLE_HEIGHT, SAMPLE_WIDTH), tuple(range(16)), Normalisation.none(16))
    out = sample_format(read).empty(1)
    said = said_by(lambda: read(str(path), out))
    if said:
        assert "data-damaged.h5" in said
    else:
        assert np.isfinite(out[0]).all()
        assert out[1].max() <= 2


@pytest.fixture(scope="module")
def stats(tmp_path_factory) -> bytes:
    return write_stats(tmp_path_factory.mktemp("stats")).read_bytes()


@given(DAMAGE)
@cases(60)
def test_statistics(tmp_path_factory, stats, damage):
    path = tmp_path_factory.getbasetemp() / "stats-damaged.h5"
    path.write_bytes(damaged(stats, damage))
    read = []
    said = said_by(lambda: read.append(read_normalisation(path, tuple(range(16)))))
    if said:
        assert "stats-damaged.h5" in said
    else:
        assert np.isfinite(read[0].scale).all()
        assert (read[0].scale > 0).all()


@pytest.fixture(scope="module")
def network():
    return deeplab.deeplab(width=0.05, middle_blocks=1)


@pytest.fixture(scope="module")
def model_files(network, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("models")
    weights.save(network, folder / "model.npz")
    network.save(folder / "model.h5", save_format="h5")
    return {path.suffix: path.read_bytes() for path in sorted(folder.iterdir())}


@given(DAMAGE, st.sampled_from([".npz", ".h5"]))
@cases(40)
@pytest.mark.filterwarnings("ignore")
def test_model_files(tmp_path_factory, network, model_files, damage, suffix):
    path = tmp_path_factory.getbasetemp() / f"model-damaged{suffix}"
    path.write_bytes(damaged(model_files[suffix], damage))
    load = weights.load if suffix == ".npz" else load_weights
    said = said_by(lambda: load(network, path))
    if said:
        assert "model-damaged" in said
    else:
        assert all(np.isfinite(each).all() for each in network.get_weights())


@given(DAMAGE, st.sampled_from(["state.npz", "manifest.json"]))
@cases(80)
def test_checkpoints(tmp_path_factory, damage, name):
    folder = tmp_path_factory.mktemp("checkpoints")
    for step in (1, 2):
        checkpoints.save(folder, step, {"a": np.arange(50.0) * step}, {"best": 0.5}, 3)
    path = folder / "step-00000002" / name
    path.write_bytes(damaged(path.read_bytes(), damage))
    loaded = checkpoints.load_newest(folder, lambda text: None)
    np.testing.assert_array_equal(loaded.arrays["a"], np.arange(50.0) * loaded.step)


def test_the_damage_is_done():
    assert damaged(b"abcdef", [("change", 0.5, b"XY")]) == b"abcXYf"
    assert damaged(b"abcdef", [("cut", 0.5, b"X")]) == b"abc"
    assert damaged(b"abcdef", [("insert", 0.5, b"X")]) == b"abcXdef"

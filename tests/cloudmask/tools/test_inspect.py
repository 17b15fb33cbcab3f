"""`inspect`: what it says of a folder, what would be refused, and that it needs no TensorFlow."""

import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from cloudmask.config import DataSettings
from cloudmask.sen3.names import stem
from cloudmask.sen3.product import Product
from cloudmask.tools import convert
from cloudmask.tools.facts import converter_of, gather
from common.data.files import DataFile
from tests.cloudmask.sen3.products import NAME, change, frame, product
from tests.helpers import HEIGHT, PATCH, ROOT, TINY, WIDTH, environment, scene_arrays, write_hdf

SETTINGS = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH)
SIZE = TINY[:3]


def facts(path, **settings):
    return gather(DataFile(str(path), 0, 0), SETTINGS.model_copy(update=settings))


def inspect(*words) -> subprocess.CompletedProcess:
    """In a process where TensorFlow cannot be imported."""
    code = "import sys, runpy; sys.modules['tensorflow'] = None; runpy.run_module('cloudmask', run_name='__main__')"
    line = [sys.executable, "-c", code, "inspect", *map(str, words)]
    return subprocess.run(
        line, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_facts_of_a_product(tmp_path):
    refs, bts = frame().refs.copy(), frame().bts.copy()
    refs[:20], bts[:9] = np.nan, np.nan
    found = facts(product(tmp_path, refs=refs, bts=bts), sen3="physical")
    assert (found.form, found.pixels, found.baseline) == ("SEN3", (HEIGHT, WIDTH), 5)
    assert (found.without_temperature, found.without_reflectance) == (9 / HEIGHT, 10 / HEIGHT)
    assert found.labels == "0 2"
    assert found.cloud == np.mean(frame().bayes > 0)
    assert found.sun == {"day": 1.0, "twilight": 0.0, "night": 0.0}
    assert found.refused == found.unlearnable == found.converter == ""


def test_a_product_is_opened_once(tmp_path, monkeypatch):
    path, opened = product(tmp_path), []
    begin = Product.__init__
    monkeypatch.setattr(Product, "__init__", lambda self, *given: (opened.append(given), begin(self, *given))[1])
    assert facts(path).sun
    convert.main([str(path)], str(tmp_path / "out"), SETTINGS)
    assert opened == [(str(path), "a")] * 2


def test_facts_of_a_product_that_has_no_labels(tmp_path):
    path = product(tmp_path)
    change(path / "flags_in.nc", "bayes_in", np.full((HEIGHT, WIDTH), 255, np.uint8))
    found = facts(path)
    assert found.refused == ""
    assert "has no labels for data.labels: bayes" in found.unlearnable
    assert facts(path, labels="summary").unlearnable == ""


def test_facts_of_a_scene_of_the_data_set(tmp_path):
    arrays = scene_arrays(1)
    arrays["bts"][:3], arrays["refs"][:5] = 0, 0
    found = facts(write_hdf(tmp_path / "night" / "S3A_1.hdf", arrays))
    assert (found.form, found.types, found.labels) == ("data set", "float64 float32 float64", "0 255")
    assert (found.without_temperature, found.without_reflectance) == (3 / HEIGHT, 5 / HEIGHT)
    assert found.sun == {"night": 1.0}


def test_a_scene_that_is_cloud_all_over_is_remarked(tmp_path):
    found = facts(write_hdf(tmp_path / "S3A_1.hdf", {**scene_arrays(1), "bayes": np.full((HEIGHT, WIDTH, 1), 255.0)}))
    assert found.remark == "every pixel is cloud: were there labels at all?"


@pytest.mark.parametrize("like", ["dataset", "dataset_last_row", "physical"])
def test_the_converter_is_told_by_the_sun_of_a_column_s_rows(tmp_path, like):
    folder = product(tmp_path / "in", zenith=55.0)
    convert.main([str(folder)], str(tmp_path / "out"), DataSettings(sen3=like))
    assert converter_of(str(tmp_path / "out" / f"{stem(str(folder))}.hdf")) == (like if like != "physical" else "")


def test_by_night_the_converter_cannot_be_told(tmp_path):
    folder = product(tmp_path / "in", zenith=100.0)
    convert.main([str(folder)], str(tmp_path / "out"), DataSettings())
    assert converter_of(str(tmp_path / "out" / f"{stem(str(folder))}.hdf")) == ""


def test_a_folder_in_order_is_a_table_and_exit_code_0(tmp_path):
    product(tmp_path)
    write_hdf(tmp_path / "S3A_1.hdf", scene_arrays(1))
    done = inspect(tmp_path, *SIZE)
    assert done.returncode == 0, done.stdout
    assert re.search(r"platform .*Sentinel-3A +.*1\b", done.stdout)  # by the little that the name of a scene tells
    assert "platform not in the name" not in done.stdout
    assert "S3B 20200101T101500" in done.stdout
    assert "2 scenes: 0 would be refused, and 0 more in training alone" in done.stdout


def test_what_would_be_refused_is_said_with_the_reason(tmp_path):
    product(tmp_path)
    torn = product(tmp_path, NAME.replace("101500", "111500"))
    (torn / "S8_BT_in.nc").write_bytes(b"x")
    write_hdf(tmp_path / "S3A_1.hdf", {**scene_arrays(1), "refs": np.zeros((3, 4, 6))})
    done = inspect(tmp_path, *SIZE)
    assert done.returncode == 1
    assert "S8_BT_in.nc: cannot be read as HDF5" in done.stdout
    assert "S3A_1.hdf: dataset 'refs' has shape (3, 4, 6)" in done.stdout
    assert "3 scenes: 2 would be refused" in done.stdout


def test_what_is_only_named_like_a_scene_is_refused_and_the_others_are_looked_at(tmp_path):
    product(tmp_path)
    (tmp_path / NAME.replace("S3B", "S3A")).write_text("no folder")
    (tmp_path / "S3A_2.hdf").mkdir()
    (tmp_path / "S3A_3.hdf").symlink_to(tmp_path / "nowhere")
    write_hdf(tmp_path / "again" / "S3A_4.hdf", scene_arrays(1))
    write_hdf(tmp_path / "S3A_4.hdf", scene_arrays(1))
    done = inspect(tmp_path, *SIZE)
    assert done.returncode == 1
    for line in (
        f"refused: {tmp_path}/{NAME.replace('S3B', 'S3A')}: is named like a product but is not a folder; unpack it",
        f"refused: {tmp_path}/S3A_2.hdf: is named like a sample but is not a regular file",
        f"refused: {tmp_path}/S3A_3.hdf: cannot be examined",
        f"refused: {tmp_path}/again/S3A_4.hdf: has the same name as {tmp_path}/S3A_4.hdf",
        "6 scenes: 4 would be refused, and 0 more in training alone",
    ):
        assert line in done.stdout


def test_without_labels_it_is_refused_in_training_alone(tmp_path):
    with h5py.File(product(tmp_path) / "flags_in.nc", "r+") as file:
        del file["bayes_in"]
    done = inspect(tmp_path, *SIZE)
    assert done.returncode == 1
    assert "refused in training: " in done.stdout
    assert inspect(tmp_path, *SIZE, "--masking").returncode == 0
    assert inspect(tmp_path, *SIZE, "data.labels=summary").returncode == 0


def test_twins_and_what_is_passed_over_are_named(tmp_path):
    shutil.copytree(product(tmp_path), tmp_path / NAME.replace("20200102T151515", "20200301T000000"))
    (tmp_path / "S3A_OL_1_EFR.SEN3").mkdir()
    done = inspect(tmp_path, *SIZE)
    assert done.returncode == 0
    assert f"{NAME}: left out: of the same acquisition as S3B" in done.stdout
    assert "passed over S3A_OL_1_EFR.SEN3" in done.stdout
    assert "1 scenes: 0 would be refused" in done.stdout


def test_an_empty_folder_is_an_error(tmp_path):
    done = inspect(tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(f"error: {tmp_path}: no file matches")

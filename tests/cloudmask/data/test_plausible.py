"""Scenes in other units, and labels that are none: refused, or said once; never silent, and never said of good ones."""

import re

import numpy as np
import pytest

from cloudmask.config import DataSettings
from cloudmask.data.patches import read_patches
from cloudmask.data.scenes import read_scene
from common.data import doubts
from common.errors import UserError
from tests.helpers import HEIGHT, PATCH, WIDTH, scene_arrays, write_hdf

SETTINGS = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH)
LABELS = (HEIGHT, WIDTH, 1)


@pytest.fixture(autouse=True)
def _nothing_was_said():
    doubts.forget()


def both_ways(path, settings=SETTINGS):
    return [lambda: read_scene(str(path), settings), lambda: read_patches(str(path), settings)]


@pytest.mark.parametrize("missing", ["mask", "reference"])
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("refs", lambda values: values * 100, r"'refs' has a median of \d+.*in percent\?"),
        ("bts", lambda values: values - 273.15, r"'bts' holds degrees Celsius.*kelvin expected"),
        ("bts", lambda values: values * 10, r"'bts' holds \d{4} to \d{4} .*kelvin expected"),
        ("bts", lambda values: values / 10, r"'bts' holds .*kelvin expected"),
        ("bayes", lambda values: values / 255 * 0.7, r"'bayes' holds fractions such as 0\.7"),
        ("bayes", lambda values: np.where(values > 0, 1.0, -1.0), r"'bayes' holds -1: labels are 0, clear"),
        ("bayes", lambda values: np.where(values > 0, 1, -1).astype(np.int8), r"'bayes' holds -1"),
    ],
)
def test_other_units_and_labels_are_refused(tmp_path, missing, name, change, message):
    arrays = scene_arrays(1)
    path = write_hdf(tmp_path / "S3A_1.hdf", {**arrays, name: change(arrays[name])})
    for read in both_ways(path, SETTINGS.model_copy(update={"missing": missing})):
        with pytest.raises(UserError, match=message) as caught:
            read()
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("refs", lambda values: values * 8, r"'refs' has a median of 4\.\d+: a scene of reflectances is hardly so"),
        ("bayes", lambda values: np.full(LABELS, 255.0), r"'bayes' is 255 in every pixel"),
        ("bayes", lambda values: np.full(LABELS, 255, np.uint8), r"'bayes' is 255 in every pixel"),
    ],
)
def test_what_can_hardly_be_is_said_once(tmp_path, capsys, name, change, message):
    arrays = scene_arrays(1)
    for number in range(3):
        path = write_hdf(tmp_path / f"S3A_{number}.hdf", {**arrays, name: change(arrays[name])})
        for read in both_ways(path):
            read()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {tmp_path}/S3A_0.hdf")
    assert re.search(message, line)


def some(fill: float):
    """Most of a scene lost, as at the swath's edge."""

    def change(values):
        values[:, WIDTH // 4 :] = fill
        return values

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("refs", lambda values: values),
        ("refs", lambda values: 0 * values),  # night
        ("refs", lambda values: np.full_like(values, np.nan)),
        ("refs", lambda values: values**20 * 40),  # the terminator: some of it far above 1
        *[("bts", some(fill)) for fill in (0.0, np.nan, -999.0, 1e20)],
        ("bayes", lambda values: 0 * values),
        ("bayes", lambda values: np.where(values > 0, 2, 0).astype(np.uint8)),  # a product's bits
        ("bayes", lambda values: np.where(values > 0, 255.0, 0.43)),  # interpolated from another number of rows
        ("bayes", lambda values: values - 1e-9),
    ],
)
def test_good_scenes_pass_without_a_word(tmp_path, capsys, name, change):
    arrays = scene_arrays(1)
    path = write_hdf(tmp_path / "S3A_1.hdf", {**arrays, name: change(arrays[name])})
    for read in both_ways(path):
        read()
    assert capsys.readouterr().err == ""

"""Products whose files are whole but whose numbers cannot be: refused in one line, or they would make wrong scenes."""

import shutil
from typing import get_args

import h5py
import numpy as np
import pytest

from cloudmask.sen3 import Conversion
from cloudmask.sen3.conversion import convert
from common.errors import UserError
from tests.cloudmask.sen3.products import change, product
from tests.helpers import HEIGHT, WIDTH

SHAPE = (HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return product(tmp_path_factory.mktemp("product"))


def packing(name, variable, **attributes):
    def work(path):
        with h5py.File(path / name, "r+") as file:
            file[variable].attrs.update(attributes)

    return work


def grid(name, **attributes):
    def work(path):
        with h5py.File(path / name, "r+") as file:
            file.attrs.update(attributes)

    return work


def angles(work):
    def damage(path):
        with h5py.File(path / "geometry_tn.nc", "r") as file:
            values = file["solar_zenith_tn"][()]
        change(path / "geometry_tn.nc", "solar_zenith_tn", work(values))

    return damage


def one(values, angle):
    values[3, 2] = angle
    return values


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *[
            (packing("S3_radiance_an.nc", "S3_radiance_an", scale_factor=scale), r"S3_radiance_an': scale_factor")
            for scale in (np.nan, np.inf, 0.0, -0.01)
        ],
        (packing("S8_BT_in.nc", "S8_BT_in", scale_factor=0.0), r"S8_BT_in': scale_factor 0"),
        (packing("S9_BT_in.nc", "S9_BT_in", add_offset=np.nan), r"S9_BT_in': .*add_offset nan"),
        (angles(lambda values: np.full_like(values, np.nan)), r"solar_zenith_tn' holds no angle"),
        (angles(lambda values: values - 90), r"solar_zenith_tn' holds -\d.*0 to 180"),
        (angles(lambda values: values * 10), r"solar_zenith_tn' holds .*0 to 180"),
        (angles(lambda values: one(values, 1e20)), r"solar_zenith_tn' holds 1e\+20.*0 to 180"),
        (grid("S1_radiance_an.nc", resolution="[ 500 0.5 ]"), r"resolution \[ 500 0\.5 \].* cannot be"),
        (grid("geometry_tn.nc", resolution="[ 1e9 1000 ]"), r"resolution \[ 1e9 1000 \].* cannot be"),
        (grid("S1_radiance_an.nc", track_offset=0.25), r"track_offset .* cannot be"),
        (grid("S1_radiance_an.nc", start_offset=2e12), r"start_offset .* cannot be"),
        (grid("S1_radiance_an.nc", track_offset=9000), r"the image lies at columns"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, small, damage, message):
    path = tmp_path / small.name
    shutil.copytree(small, path)
    damage(path)
    for like in get_args(Conversion):
        with pytest.raises(UserError, match=message) as caught:
            convert(str(path), like, SHAPE)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("number", [257, 300, -1])
def test_a_detector_s_number_does_not_wrap(tmp_path, small, number):
    """257 in 16 bits is not detector 1, and -1 no detector at all."""
    path = tmp_path / small.name
    shutil.copytree(small, path)
    detectors = np.full((2 * HEIGHT, 2 * WIDTH), number, np.int16)
    change(path / "indices_an.nc", "detector_an", detectors)
    if number < 0:
        assert np.isnan(convert(str(path), "physical", SHAPE).refs).all()
        return
    with pytest.raises(UserError, match=rf"detector_an' holds detector {number}"):
        convert(str(path), "physical", SHAPE)


def test_a_detector_without_an_irradiance(tmp_path, small):
    path = tmp_path / small.name
    shutil.copytree(small, path)
    change(path / "indices_an.nc", "detector_an", np.full((2 * HEIGHT, 2 * WIDTH), 7, np.uint8))
    with pytest.raises(UserError, match=r"detector_an' holds detector 7, .* 4 detectors"):
        convert(str(path), "physical", SHAPE)


def test_a_gap_in_the_sun_s_angle(tmp_path, small):
    """The data set's converter takes the sun for overhead there, which the measurements themselves must not."""
    path = tmp_path / small.name
    shutil.copytree(small, path)
    angles(lambda values: one(values, np.nan))(path)
    assert np.isfinite(convert(str(path), "dataset", SHAPE).refs).all()
    with pytest.raises(UserError, match=r"solar_zenith_tn' has no angle at 1 of the \d+ tie points over the image"):
        convert(str(path), "physical", SHAPE)

"""Masks that others made: read in the forms that they come in, and scored beside ours."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import netcdf_file

from cloudmask import masks, scoring
from cloudmask.data.ancillary import Ancillary
from cloudmask.masks import others
from common.data.files import DataFile
from common.errors import UserError
from tests.cloudmask.swaths import located, swath

SHAPE = (6, 8)
CLOUD = np.arange(48).reshape(SHAPE) % 3 == 0
SUMMARY = {
    "flag_masks": np.array([1, 8, 16384], np.uint16),
    "flag_meanings": "coastline land summary_cloud",
}
IDEPIX = {
    "flag_masks": np.array([1, 2, 8, -32768], np.int16),
    "flag_meanings": "IDEPIX_INVALID IDEPIX_CLOUD IDEPIX_CLOUD_BUFFER IDEPIX_LAND",
}
CODES = {"flag_values": np.array([0, 1, 4], np.int8), "flag_meanings": "clear cloudy snow"}


def write(path: Path, values: np.ndarray, name: str = "mask", **attributes) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=values).attrs.update(attributes)
        file["latitude"] = np.zeros(SHAPE)
        file["bands"] = np.zeros(3)
    return path


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        (CLOUD, {}),
        (CLOUD.astype(np.uint8) * 255, {}),
        (CLOUD.astype(np.float32)[np.newaxis, ..., np.newaxis], {}),
        (np.where(CLOUD, 0.7, 0.5), {}),
        (np.where(CLOUD, 70, 50).astype(np.int16), {"scale_factor": 0.01, "add_offset": 0.0}),
        (np.where(CLOUD, 16384 + 8, 8).astype(np.uint16), SUMMARY),
        (np.where(CLOUD, 2, 8 - 32768).astype(np.int16), IDEPIX),
        (np.where(CLOUD, 1, 4).astype(np.int8), CODES),
    ],
    ids=["bool", "0 and 255", "ours", "probability", "packed", "summary_cloud", "idepix", "codes"],
)
def test_every_usual_form_is_understood(tmp_path, values, attributes):
    found = others.read(write(tmp_path / "a.h5", values, "her_own_name", **attributes), SHAPE, 0.5)
    np.testing.assert_array_equal(found.cloud, CLOUD)
    assert found.known is None


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        (np.where(CLOUD, 1.0, np.nan), {}),
        (np.where(CLOUD, 1, 255).astype(np.uint8), {"_FillValue": np.uint8(255)}),
        (np.where(CLOUD, 1, -1).astype(np.int8), {"_FillValue": np.int8(-1), "_Unsigned": "true"}),
        (np.where(CLOUD, 200, 250).astype(np.uint8), {"valid_range": np.array([0, 200], np.uint8)}),
    ],
    ids=["NaN", "fill", "_Unsigned", "range"],
)
def test_pixels_without_data_are_known_as_such(tmp_path, values, attributes):
    found = others.read(write(tmp_path / "a.nc", values, **attributes), SHAPE, 0.5)
    np.testing.assert_array_equal(found.known, CLOUD)
    np.testing.assert_array_equal(found.cloud, CLOUD)


def test_netcdf_3_is_read(tmp_path):
    """As SNAP exports it."""
    with netcdf_file(tmp_path / "a.nc", "w") as file:
        file.createDimension("y", SHAPE[0])
        file.createDimension("x", SHAPE[1])
        variable = file.createVariable("pixel_classif_flags", np.int16, ("y", "x"))
        variable[:] = np.where(CLOUD, 3, 8 - 32768)
        variable.flag_masks, variable.flag_meanings = IDEPIX["flag_masks"], IDEPIX["flag_meanings"]
        file.createVariable("lat", np.float32, ("y", "x"))[:] = 0
    found = others.read(tmp_path / "a.nc", SHAPE, 0.5)
    np.testing.assert_array_equal(found.cloud, CLOUD)
    assert found.cloud.flags.writeable
    (tmp_path / "a.nc").write_bytes((tmp_path / "a.nc").read_bytes()[:60])
    with pytest.raises(UserError, match="cannot be read as netCDF 3"):
        others.read(tmp_path / "a.nc", SHAPE, 0.5)


def test_our_own_netcdf_masks_are_read(tmp_path):
    """So that an earlier run's can be scored beside those of today."""
    probability, measured = np.where(CLOUD, 0.8, 0.1).astype(np.float32), np.ones(SHAPE, np.uint8)
    measured[2] = 0
    masks.write_netcdf(tmp_path / "a.nc", probability, measured, located(*swath(SHAPE, 50, 5)), 0.5, {})
    found = others.read(tmp_path / "a.nc", SHAPE, 0.5)
    np.testing.assert_array_equal(found.cloud, CLOUD & (measured > 0))
    np.testing.assert_array_equal(found.known, measured > 0)


@pytest.mark.parametrize(
    ("values", "attributes", "message"),
    [
        (np.zeros((6, 9)), {}, "a.h5: holds no mask of the scene's 6 x 8 pixels.*none of that size"),
        (np.full(SHAPE, 80.0), {}, "dataset 'x' has values from 0 to 80: floating point is taken for the probability"),
        (
            np.zeros(SHAPE, np.uint8),
            {**CODES, "flag_meanings": "a b c"},
            "'x' has flags of which none is named",
        ),
        (np.zeros(SHAPE, np.uint8), {"flag_meanings": "cloud"}, "0 flag_values"),
    ],
)
def test_a_file_that_does_not_say_what_is_cloud_is_one_line(tmp_path, values, attributes, message):
    with pytest.raises(UserError, match=message):
        others.read(write(tmp_path / "a.h5", values, "x", **attributes), SHAPE, 0.5)


def test_several_arrays_need_a_name(tmp_path):
    with h5py.File(write(tmp_path / "a.h5", CLOUD, "one"), "r+") as file:
        file["two"] = CLOUD
    with pytest.raises(UserError, match="2 of that size: one, two"):
        others.read(tmp_path / "a.h5", SHAPE, 0.5)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["cloud_mask"] = CLOUD
    np.testing.assert_array_equal(others.read(tmp_path / "a.h5", SHAPE, 0.5).cloud, CLOUD)


def test_folders_are_named_and_refused(tmp_path):
    scenes = [DataFile("/x/S3A_1.hdf", 1, 1)]
    for folder in ("thresholds", "runs/first/masks", "network", "empty"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("thresholds/S3A_1.nc", "runs/first/masks/S3A_1.hdf.h5", "network/S3A_1.h5"):
        (tmp_path / file).touch()
    wanted = [str(tmp_path / "thresholds"), str(tmp_path / "runs/first/masks")]
    assert list(others.by_name(wanted, ["network"], scenes)) == ["thresholds", "first"]
    for folder, message in [
        ("network", "another mask is named network"),
        ("empty", "holds no scene's mask, such as S3A_1.nc or S3A_1.h5"),
        ("none", "no such folder"),
    ]:
        with pytest.raises(UserError, match=message):
            others.by_name([str(tmp_path / folder)], ["network"], scenes)


def test_pixels_that_a_mask_lacks_do_not_count_for_it():
    """By hand: of 48 pixels 16 are cloud; this mask has 24 pixels and is right in 20 of them."""
    known = np.zeros(SHAPE, bool)
    known[:3] = True
    mask = CLOUD.copy()
    mask[0, :4] = ~mask[0, :4]
    one, cloud = np.ones(SHAPE, np.uint8), CLOUD.view(np.uint8)
    probability = CLOUD.astype(np.float32)
    beside = Ancillary(folder="day", truth=~CLOUD)
    found = scoring.score(probability, 0.5, {"hers": mask}, cloud, one, one, beside, {"hers": known})
    assert found.by_mask()["hers"]["pixel_accuracy"] == pytest.approx(20 / 24)
    assert found.by_mask()["hers"]["accuracy_all_pixels"] == pytest.approx(20 / 24)
    assert found.by_stratum()["day"]["hers"]["pixels"] == 24
    assert found.by_mask()["network"]["pixel_accuracy"] == 1
    assert found.truth.by_mask()["hers"]["pixel_accuracy"] == pytest.approx(4 / 24)

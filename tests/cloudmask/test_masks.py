"""Mask files as other programs see them: xarray with both of its netCDF readers, and a CF checker."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask import masks
from cloudmask.data.ancillary import Ancillary
from cloudmask.sen3.coordinates import microdegrees
from common.errors import UserError

SHAPE = (700, 40)  # more than one chunk


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(path, probability, measured, latitude)."""
    rng = np.random.default_rng(1)
    probability, measured = rng.random(SHAPE, np.float32), (rng.random(SHAPE) < 0.9).astype(np.uint8)
    probability[0, :3] = 0.0, 0.5, 1.0
    measured[0, :3] = 1
    latitude = np.linspace(50, 40, SHAPE[0])[:, np.newaxis] + np.zeros(SHAPE)
    beside = Ancillary(latitude=microdegrees(latitude), longitude=microdegrees(latitude / 2))
    path = tmp_path_factory.mktemp("masks") / masks.netcdf_name("/x/S3A_SL_1_RBT.SEN3")
    attributes = {"model": "m.keras", "model_sha256": "0" * 64, "version": "1", "product": "S3A_SL_1_RBT.SEN3"}
    masks.write_netcdf(path, probability, measured, beside, 0.5, attributes)
    return path, probability, measured, latitude


@pytest.mark.filterwarnings("ignore:numpy.ndarray size changed")  # netCDF4's wheels are built for NumPy 2
@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_xarray_opens_the_mask_with_its_coordinates(written, engine):
    xarray = pytest.importorskip("xarray")
    path, probability, measured, latitude = written
    with xarray.open_dataset(path, engine=engine) as file:
        mask, likely = file["cloud_mask"], file["cloud_probability"]
        assert set(mask.coords) == set(likely.coords) == {"latitude", "longitude"}
        np.testing.assert_allclose(file["latitude"], latitude, atol=1e-6)
        seen = measured > 0
        np.testing.assert_array_equal(np.isnan(mask), ~seen)
        np.testing.assert_array_equal(np.isnan(likely), ~seen)
        np.testing.assert_array_equal(mask.values[seen], (probability > 0.5)[seen])
        np.testing.assert_allclose(likely.values[seen], probability[seen], atol=0.51 / 32767)
        assert likely.values[0, :3].tolist() == pytest.approx([0, 0.5, 1], abs=2e-5)
        assert mask.attrs["flag_meanings"] == "clear cloud"
        assert file.attrs["Conventions"] == "CF-1.8"
        assert file.attrs["product"] == "S3A_SL_1_RBT.SEN3"
        assert len(file.attrs["model_sha256"]) == 64
    with xarray.open_dataset(path, engine=engine, mask_and_scale=False) as raw:
        assert raw["cloud_mask"].values.view(np.uint8)[~seen].tolist() == [255] * int((~seen).sum())


@pytest.mark.filterwarnings("ignore:numpy.ndarray size changed")  # netCDF4's wheels are built for NumPy 2
def test_netcdf4_and_xarray_take_the_same_pixels_as_missing(written):
    """netCDF4 also masks values outside valid_range, and its default fill values where a file gives none."""
    netcdf, xarray = pytest.importorskip("netCDF4"), pytest.importorskip("xarray")
    with netcdf.Dataset(written[0]) as file, xarray.open_dataset(written[0]) as other:
        names = ["cloud_mask", "cloud_probability", "latitude", "longitude"]
        assert set(names) <= set(file.variables)
        for name in names:
            values = np.ma.filled(file[name][:].astype(np.float64), np.nan)
            np.testing.assert_allclose(values, other[name].values, rtol=1e-6, err_msg=name)
        assert np.isnan(other["cloud_mask"]).any()


def test_a_cf_checker_finds_nothing(written):
    checker = Path(sys.executable).with_name("compliance-checker")
    if not checker.is_file():
        pytest.skip("compliance-checker is not installed (requirements-dev.txt)")
    done = subprocess.run([checker, "--test", "cf:1.8", written[0]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All tests passed!" in done.stdout


def test_what_is_stored_is_read_back(written, tmp_path):
    path, probability, measured, _ = written
    seen = measured > 0
    packed = masks.stored_probability(path)
    np.testing.assert_allclose(packed[seen], probability[seen], atol=0.51 / 32767)
    assert np.isnan(packed[~seen]).all()
    masks.write_reference(tmp_path / "a.hdf.h5", probability, {"model": "m"})
    np.testing.assert_array_equal(masks.stored_probability(tmp_path / "a.hdf.h5"), probability)
    with pytest.raises(UserError, match="exists already and is left as it is"):
        masks.write_reference(tmp_path / "a.hdf.h5", probability, {})


def test_a_scene_without_coordinates_has_a_mask_without_them(tmp_path):
    path = tmp_path / "a.nc"
    masks.write_netcdf(path, np.zeros((3, 4), np.float32), np.ones((3, 4), np.uint8), Ancillary(), 0.5, {})
    with h5py.File(path) as file:
        assert (
            {"cloud_mask", "cloud_probability"} <= set(file) <= {"cloud_mask", "cloud_probability", "rows", "columns"}
        )
        assert "coordinates" not in file["cloud_mask"].attrs


def test_names():
    assert masks.reference_name("/x/S3A_1.hdf") == "S3A_1.hdf.h5"
    assert masks.netcdf_name("/x/S3A_1.hdf") == "S3A_1.nc"

"""Mask files as other programs see them: xarray with both of its netCDF readers, GDAL, and a CF checker."""

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask import masks
from cloudmask.data.ancillary import Ancillary
from cloudmask.sen3 import names
from common.errors import UserError
from tests.cloudmask.swaths import NAME, gdal, gdalinfo, located, swath, values_at

SHAPE = (700, 40)  # more than one chunk


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(path, probability, measured, latitude)."""
    rng = np.random.default_rng(1)
    probability, measured = rng.random(SHAPE, np.float32), (rng.random(SHAPE) < 0.9).astype(np.uint8)
    probability[0, :3] = 0.0, 0.5, 1.0
    measured[0, :3] = 1
    latitude = np.linspace(50, 40, SHAPE[0])[:, np.newaxis] + np.zeros(SHAPE)
    latitude[5, :7] = np.nan
    path = tmp_path_factory.mktemp("masks") / masks.netcdf_name(f"/x/{NAME}.SEN3")
    attributes = {"model": "m.keras", "model_sha256": "0" * 64, "version": "1", "product": f"{NAME}.SEN3"}
    masks.write_netcdf(path, probability, measured, located(latitude, latitude / 2), 0.5, attributes)
    return path, probability, measured, latitude


@pytest.mark.filterwarnings("ignore:numpy.ndarray size changed")  # netCDF4's wheels are built for NumPy 2
@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_xarray_opens_the_mask_with_its_coordinates(written, engine):
    xarray = pytest.importorskip("xarray")
    path, probability, measured, latitude = written
    with xarray.open_dataset(path, engine=engine) as file:
        mask, likely = file["cloud_mask"], file["cloud_probability"]
        assert set(mask.coords) == set(likely.coords) == {"latitude", "longitude", "time"}
        np.testing.assert_allclose(file["latitude"], latitude, atol=5e-6)  # 0.5 m
        assert file["time"].values == np.datetime64("2020-01-01T10:15:00")
        seen = measured > 0
        np.testing.assert_array_equal(np.isnan(mask), ~seen)
        np.testing.assert_array_equal(np.isnan(likely), ~seen)
        np.testing.assert_array_equal(mask.values[seen], (probability > 0.5)[seen])
        np.testing.assert_allclose(likely.values[seen], probability[seen], atol=0.51 / 32767)
        assert likely.values[0, :3].tolist() == pytest.approx([0, 0.5, 1], abs=2e-5)
        assert mask.attrs["flag_meanings"] == "clear cloud"
        assert file.attrs["Conventions"] == "CF-1.9"
        assert file.attrs["product"] == f"{NAME}.SEN3"
        assert (file.attrs["platform"], file.attrs["instrument"]) == ("Sentinel-3B", "SLSTR")
        assert file.attrs["time_coverage_end"] == "2020-01-01T10:18:00Z"
        assert len(file.attrs["model_sha256"]) == 64
    with xarray.open_dataset(path, engine=engine, mask_and_scale=False) as raw:
        assert raw["cloud_mask"].dtype == np.uint8
        assert raw["cloud_mask"].values[~seen].tolist() == [255] * int((~seen).sum())


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
    done = subprocess.run([checker, "--test", "cf:1.9", written[0]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All tests passed!" in done.stdout


def test_gdal_takes_the_same_pixels_as_missing(written):
    path, _, measured, _ = written
    for name, kind, missing in [("cloud_mask", "Byte", 255.0), ("cloud_probability", "Int16", -32768.0)]:
        about = gdalinfo(f'NETCDF:"{path}":{name}')
        assert (about["bands"][0]["type"], about["bands"][0]["noDataValue"]) == (kind, missing)
        assert about["metadata"]["GEOLOCATION"]["X_DATASET"] == f'NETCDF:"{path}":longitude'
    text = gdal("gdalinfo", "-stats", f'NETCDF:"{path}":cloud_mask')
    (percent,) = re.findall(r"STATISTICS_VALID_PERCENT=([\d.]+)", text)
    assert float(percent) == pytest.approx(100 * measured.mean(), abs=0.01)
    path.with_name(f"{path.name}.aux.xml").unlink()


def test_gdalwarp_puts_the_mask_where_it_belongs(tmp_path):
    """As a user of GDAL does it: gdalwarp -geoloc."""
    shape = 90, 120
    latitude, longitude = swath(shape, 50.1, -4.2)
    probability, measured = np.zeros(shape, np.float32), np.ones(shape, np.uint8)
    probability[40:46, 50:58] = 0.9
    measured[70:, :30] = 0
    path, target = tmp_path / "a.nc", tmp_path / "a.tif"
    masks.write_netcdf(path, probability, measured, located(latitude, longitude), 0.5, {})
    gdal("gdalwarp", "-q", "-geoloc", "-t_srs", "EPSG:4326", f'NETCDF:"{path}":cloud_mask', target)
    places = [(latitude[pixel], longitude[pixel]) for pixel in [(43, 54), (10, 10), (80, 15), (36, 54)]]
    assert values_at(target, places) == [1, 0, 255, 0]


@pytest.mark.parametrize(
    ("name", "platform", "start", "end", "orbit"),
    [
        (f"/x/{NAME}.SEN3", "Sentinel-3B", "2020-01-01T10:15:00Z", "2020-01-01T10:18:00Z", 179),
        ("S03SLSRBT_20240610T101500_0179_A123_S1A2.zarr", "Sentinel-3A", "2024-06-10T10:15:00Z", "10:17:59Z", 123),
        ("S3A_SL_1_RBT____20180101T000000_golden.hdf", None, None, None, None),
        ("S3A_SL_1_RBT____20189901T000000_20180101T000300_20180101T000300_0179_001_002_x.SEN3", *[None] * 4),
        ("scene.hdf", None, None, None, None),
    ],
)
def test_a_name_tells_when_and_by_which_satellite_a_scene_was_seen(name, platform, start, end, orbit):
    acquired = names.acquired(name)
    told = acquired.attributes() if acquired else {}
    assert (told.get("platform"), told.get("time_coverage_start")) == (platform, start)
    assert end is None or told["time_coverage_end"].endswith(end)
    assert told.get("relative_orbit") == orbit


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

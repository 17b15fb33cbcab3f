"""Reflectances of a realistic product against the definition, computed here from the files' numbers, and satpy's."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask.sen3.conversion import convert
from cloudmask.sen3.physical import NOTICE
from tests.cloudmask.sen3.products import change
from tests.cloudmask.sen3.test_sun import made_product
from tests.helpers import GOLDEN

ROWS = 58
SHAPE = (ROWS, 1500)
UNREAD = ["flags_*", "time_*", "met_*", "viscal*", "F*", "*_f?.nc", "*_bn.nc", "cartesian_*", "geodetic_*"]
BANDS = range(1, 7)
NO_MEASUREMENT = 8 | 16 | 32 | 64  # no_signal, saturation, invalid_radiance, no_parameters


@pytest.fixture(scope="module")
def realistic(tmp_path_factory) -> Path:
    """Of baseline 004; its 0.5 km grid begins one row behind the 1 km grid."""
    drops = [word for pattern in UNREAD for word in ("--drop", pattern)]
    return made_product(tmp_path_factory.mktemp("in"), 7, "--nadir", "--rows", str(ROWS), "--shift", "1", *drops)


def stored(path: Path, name: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][()]


def zenith() -> np.ndarray:
    """Degrees at each 0.5 km pixel by the generator's formula, not by its tie points."""
    row = np.clip((np.arange(2 * ROWS) + 1) / 2, 0, ROWS - 1)[:, np.newaxis] / (ROWS - 1)
    column = ((np.arange(3000) - 1996) / 32 + 64) / 129
    return 32 + 15 * row + 25 * column + 0.5 * np.sin(6 * row) * np.cos(4 * column)


def radiance(folder: Path, band: int) -> np.ndarray:
    path = folder / f"S{band}_radiance_an.nc"
    with h5py.File(path) as file:
        packed = file[f"S{band}_radiance_an"]
        scale = np.ravel(packed.attrs["scale_factor"])[0]
        return np.where(packed[()] == -32768, np.nan, packed[()] * scale)


def over(fine: np.ndarray) -> np.ndarray:
    """[2 H, 2 W] as [H, W, 4]: what lies over each 1 km pixel, of which the first row has but one row."""
    placed = np.full((2 * ROWS, 3000), np.nan)
    placed[1:] = fine[:-1]
    return placed.reshape(ROWS, 2, 1500, 2).swapaxes(1, 2).reshape(ROWS, 1500, 4)


def mean(values: np.ndarray) -> np.ndarray:
    """Over the last axis of what is known; NaN where nothing is."""
    count = np.isfinite(values).sum(-1)
    return np.where(count > 0, np.nansum(values, -1) / np.maximum(count, 1), np.nan)


def test_physical_is_the_definition(realistic):
    """pi L / (E0 cos(zenith)), each detector's own irradiance, the mean of the measured pixels."""
    made = convert(str(realistic), "physical", SHAPE).refs
    detectors = stored(realistic / "indices_an.nc", "detector_an")
    for band, factor in zip(BANDS, NOTICE):
        by_detector = np.append(stored(realistic / f"S{band}_quality_an.nc", f"S{band}_solar_irradiance_an"), np.nan)
        exception = stored(realistic / f"S{band}_radiance_an.nc", f"S{band}_exception_an")
        measured = np.where(exception & NO_MEASUREMENT, np.nan, radiance(realistic, band)) * factor
        irradiance = by_detector[np.minimum(detectors, 4)]
        expected = mean(over(np.pi * measured / (irradiance * np.cos(np.deg2rad(zenith())))))
        np.testing.assert_allclose(made[..., band - 1], expected, rtol=0, atol=1e-6)
    assert 0.05 < np.isnan(made).mean() < 0.1


def test_before_the_cosine_it_is_satpy_s(realistic, tmp_path):
    """tests/golden/satpy_reflectance.npz: satpy 0.60.0's percent of the 2 x 2 pixels over each 1 km pixel, [::10,
    ::37]; the sun is overhead here. satpy keeps saturated pixels, which have 500 % and more."""
    golden = np.load(GOLDEN / "satpy_reflectance.npz")
    folder = shutil.copytree(realistic, tmp_path / realistic.name)
    change(folder / "geometry_tn.nc", "solar_zenith_tn", np.zeros((ROWS, 130)))
    made = convert(str(folder), "physical", SHAPE).refs[::10, ::37]
    for band in BANDS:
        percent = golden[f"S{band}"].reshape(*made.shape[:2], 4)
        expected = mean(np.where(percent > 450, np.nan, percent) / 100)
        np.testing.assert_allclose(made[..., band - 1], expected, rtol=1e-5)
        assert np.isfinite(expected).mean() > 0.8

"""The only real pixels at hand, of a product of 13 March 2017 that SNAP sampled to 24 x 30 pixels: from packed numbers
to a network's input, and through a network."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import netcdf_file

from cloudmask.config import DataSettings
from cloudmask.data import ancillary
from cloudmask.data.normalize import kelvin_of, reflectance_of
from cloudmask.data.patches import read_patches
from cloudmask.data.scenes import read_scene
from cloudmask.sen3.writer import IRRADIANCE
from common.errors import UserError
from tests.helpers import ROOT

SUBSET = ROOT.parent / "shared" / "real-slstr" / "subset_20170313_24x30.nc"
NAME = "S3A_SL_1_RBT____20170313T110343_20170313T110643_20170313T130000_0179_015_192_2520_MAR_O_NR_002.SEN3"
SIZE = (24, 30)
SETTINGS = DataSettings(image_h=24, image_w=30, patch_size=24, sen3="physical")
OFFSETS = {500: 2 * 76447, 1000: 76447}


@pytest.fixture(scope="module")
def subset() -> dict:
    """Packed values and attributes by name."""
    if not SUBSET.is_file():
        pytest.skip(f"no {SUBSET.name} here, which holds a real product's values")
    with netcdf_file(SUBSET, mmap=False) as file:
        return {name: (variable[:].copy(), dict(variable._attributes)) for name, variable in file.variables.items()}


def put(path: Path, metres: int, **variables: tuple) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["resolution"] = f"[ {metres} {metres} ]"
        file.attrs.update({"track_offset": 0, "start_offset": OFFSETS[metres]})
        for name, (values, attributes) in variables.items():
            dataset = file.create_dataset(name, data=values.astype(values.dtype.newbyteorder("=")))
            dataset.attrs.update(attributes)


@pytest.fixture(scope="module")
def real_product(subset, tmp_path_factory) -> Path:
    """A product of these pixels, each of the 0.5 km grid four times and tie points at each of the 1 km grid."""
    folder = tmp_path_factory.mktemp("real") / NAME
    folder.mkdir()

    def fine(name: str) -> tuple:
        values, attributes = subset[name]
        return values.repeat(2, 0).repeat(2, 1), attributes

    for band, irradiance in enumerate(IRRADIANCE, 1):
        names = f"S{band}_radiance_an", f"S{band}_exception_an"
        put(folder / f"S{band}_radiance_an.nc", 500, **{name: fine(name) for name in names})
        detectors = {f"S{band}_solar_irradiance_an": (np.full(4, irradiance), {})}
        put(folder / f"S{band}_quality_an.nc", 500, **detectors)
    for band in (7, 8, 9):
        names = f"S{band}_BT_in", f"S{band}_exception_in"
        put(folder / f"S{band}_BT_in.nc", 1000, **{name: subset[name] for name in names})
    put(folder / "indices_an.nc", 500, detector_an=fine("detector_an"))
    put(folder / "geometry_tn.nc", 1000, solar_zenith_tn=subset["solar_zenith_tn"])
    put(folder / "geodetic_in.nc", 1000, **{name: subset[name] for name in ("latitude_in", "longitude_in")})
    put(folder / "flags_in.nc", 1000, **{name: subset[name] for name in ("bayes_in", "confidence_in", "cloud_in")})
    return folder


def expected(subset: dict) -> np.ndarray:
    """[24, 30, 9] by the definition: reflectance calibrated by the notice, kelvin; NaN where the number is no data."""
    cosine = np.cos(np.deg2rad(subset["solar_zenith_tn"][0].astype(np.float64)))
    channels = []
    for band, (irradiance, factor) in enumerate(zip(IRRADIANCE, (0.97, 0.98, 0.98, 1.0, 1.11, 1.13)), 1):
        counts, attributes = subset[f"S{band}_radiance_an"]
        radiance = np.where(counts == -32768, np.nan, counts * attributes["scale_factor"])
        channels.append(np.pi * radiance * factor / irradiance / cosine)
    for band in (7, 8, 9):
        counts, attributes = subset[f"S{band}_BT_in"]
        kelvin = counts * attributes["scale_factor"] + attributes["add_offset"]
        channels.append(np.where(counts == -32768, np.nan, kelvin))
    return np.stack(channels, axis=-1)


def test_real_values_come_through_as_they_are(subset, real_product):
    """The sun of a 1 km pixel is that of its four, to a quarter of a step between sampled pixels, some 20 km."""
    scene, values = read_scene(str(real_product), SETTINGS), expected(subset)
    image = np.concatenate([reflectance_of(scene.image[0, ..., :6]), kelvin_of(scene.image[0, ..., 6:])], axis=-1)
    known = np.isfinite(values)
    np.testing.assert_allclose(image[..., :6][known[..., :6]], values[..., :6][known[..., :6]], rtol=0.01)
    np.testing.assert_allclose(image[..., 6:][known[..., 6:]], values[..., 6:][known[..., 6:]], rtol=1e-6)
    assert (scene.image[0][~known] == 0).all()
    np.testing.assert_array_equal(scene.measured > 0, known[..., 6:].any(-1))


def test_the_ranges_of_real_values(subset, real_product):
    """Late morning off West Africa; S7 has no valid radiance in more than half of the pixels."""
    scene = read_scene(str(real_product), SETTINGS)
    light, kelvin = reflectance_of(scene.image[0, ..., :6]), kelvin_of(scene.image[0, ..., 6:])
    known = np.isfinite(expected(subset))
    assert known[..., 0].sum() == known[..., 7].sum() == 24 * 30 - 24  # the swath's edge
    assert known[..., 6].sum() == 275  # invalid_radiance, and the packed number is no data
    assert known[..., 3].sum() == 24 * 30 - 24 - 3  # S4 in the deep absorption of water vapour: noise around 0
    assert -0.01 < light[known[..., :6]].min() < 0
    assert 0.6 < light[known[..., :6]].max() < 1.2
    assert 236 < kelvin[known[..., 6:]].min() < 240
    assert 314 < kelvin[known[..., 6:]].max() < 318
    assert np.isfinite(scene.image).all()
    assert -2 < scene.image.min() < scene.image.max() < 3


def test_pixels_that_were_filled_from_their_neighbours_are_kept(subset, real_product):
    filled = (subset["S1_exception_an"][0].view(np.uint8) & 2) > 0
    assert filled.mean() > 0.2
    assert (read_scene(str(real_product), SETTINGS).image[0, ..., 0][filled] != 0).all()


def test_the_real_bayesian_mask_is_255_everywhere_and_no_label(subset, real_product):
    assert (subset["bayes_in"][0].view(np.uint8) == 255).all()
    assert read_scene(str(real_product), SETTINGS).cloud is None
    with pytest.raises(UserError, match=r"has no labels for data\.labels: bayes"):
        read_patches(str(real_product), SETTINGS)
    summary = read_scene(str(real_product), SETTINGS.model_copy(update={"labels": "summary"})).cloud
    np.testing.assert_array_equal(summary > 0, (subset["confidence_in"][0] & 16384) != 0)
    tests = read_scene(str(real_product), SETTINGS.model_copy(update={"labels": "cloud"})).cloud
    np.testing.assert_array_equal(tests > 0, subset["cloud_in"][0] != 0)
    packed = subset["latitude_in"][0].astype(np.int32)
    np.testing.assert_array_equal(ancillary.read(str(real_product)).latitude, packed)


def test_a_network_takes_them(real_product):
    from cloudmask.network import networks

    image = read_scene(str(real_product), SETTINGS, lambda shape: (0, 0, 0, -shape[1] % 8)).image
    probability = np.asarray(networks.find("reference").build()(image))
    assert probability.shape == (1, 24, 32, 1)
    assert (probability > 0).all()
    assert (probability < 1).all()

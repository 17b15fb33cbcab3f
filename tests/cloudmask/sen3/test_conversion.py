"""Sentinel-3 products to scenes: the figures of the data set's own converter, the physical conversion by hand, and what
real products do to those who trust them."""

import shutil

import h5py
import numpy as np
import pytest

from cloudmask.config import DataSettings
from cloudmask.data import ancillary
from cloudmask.data.listing import list_scenes
from cloudmask.data.scenes import read_scene
from cloudmask.sen3 import kernels
from cloudmask.sen3.conversion import convert
from cloudmask.sen3.coordinates import degrees
from cloudmask.sen3.physical import NOTICE
from cloudmask.sen3.product import Product
from cloudmask.sen3.resize import halving_weights, resize
from cloudmask.sen3.writer import IRRADIANCE
from common.errors import UserError
from tests.cloudmask.sen3.products import NAME, change, frame, golden_product, product
from tests.helpers import GOLDEN, HEIGHT, PATCH, WIDTH

SHAPE = (HEIGHT, WIDTH)
SETTINGS = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH)
PHYSICAL = SETTINGS.model_copy(update={"sen3": "physical"})
OLD = NAME.replace("_005.SEN3", "_004.SEN3")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return product(tmp_path_factory.mktemp("product"))


def test_the_golden_product_is_what_the_data_set_s_converter_makes_of_it(tmp_path):
    golden = np.load(GOLDEN / "sen3_seed2018.npz")
    made = convert(str(golden_product(tmp_path)), "dataset", (1200, 1500), radiances=True)
    for name in ("refs", "rads", "bts", "bayes", "summary"):
        array = getattr(made, name)
        assert array.dtype == np.float64
        np.testing.assert_allclose(array[::37, ::41], golden[name], rtol=0, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(array.mean((0, 1)), golden[f"{name}_mean"], rtol=0, atol=1e-6, err_msg=name)
    assert made.refs.max() > 10  # near the terminator
    quick = convert(str(tmp_path / next(tmp_path.iterdir()).name), "dataset", (1200, 1500), np.float32)
    np.testing.assert_allclose(quick.refs, made.refs, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(quick.bts, made.bts, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(20, 14), (6, 8), (4, 4)])
def test_the_quick_halving_is_the_general_resize(shape, dtype):
    """Of packed counts, gaps as 0, each pixel by a sun of its own."""
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 1000, shape).astype(np.int16)
    counts[1, 2] = counts[-1, -1] = -32768
    inverse_sun = (1 + rng.random(shape)).astype(dtype)
    radiance = np.where(counts == -32768, 0, counts * 0.5 + 3.0)
    target = shape[0] // 2, shape[1] // 2
    refs, rads = np.empty(target), np.empty(target)
    kernels.halve(counts, (0.5, 3.0, -32768.0), 0.25, inverse_sun, halving_weights(), refs, rads)
    rtol = 1e-13 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(rads, resize(radiance, target, anti_aliasing=True), rtol=rtol)
    np.testing.assert_allclose(refs, resize(radiance * 0.25 * inverse_sun, target, anti_aliasing=True), rtol=rtol)


def test_physical_is_what_was_measured(small):
    """The mean of the sub-pixels, kelvin as packed, all bits of the labels."""
    source, made = frame(), convert(str(small), "physical", SHAPE)
    mean = source.refs.reshape(HEIGHT, 2, WIDTH, 2, 6).mean((1, 3))
    np.testing.assert_allclose(made.refs, mean, atol=2 * 2.0 / 32767)  # the packing's steps
    np.testing.assert_allclose(made.bts, source.bts, atol=0.0051)
    np.testing.assert_array_equal(made.bayes[..., 0], source.bayes)
    assert set(np.unique(made.summary)) == {0, 255}


def test_sub_pixels_that_were_not_measured_are_left_out_of_the_mean(tmp_path):
    refs = frame().refs.copy()
    refs[10, 20], refs[30:32, 40:42] = np.nan, np.nan
    bts = frame().bts.copy()
    bts[5, 6, 1] = np.nan
    made = convert(str(product(tmp_path, refs=refs, bts=bts)), "physical", SHAPE)
    expected = (refs[10, 21] + refs[11, 20] + refs[11, 21]) / 3
    np.testing.assert_allclose(made.refs[5, 10], expected, atol=1e-4)
    assert np.isnan(made.refs[15, 20]).all()
    assert np.isnan(made.refs).sum() == 6
    assert np.argwhere(np.isnan(made.bts)).tolist() == [[5, 6, 1]]
    like = convert(str(tmp_path / NAME), "dataset", SHAPE)
    assert like.bts[5, 6, 1] == 0
    assert np.isfinite(like.refs).all()


def test_each_detector_has_its_own_irradiance(tmp_path):
    path = product(tmp_path)
    change(path / "S2_quality_an.nc", "S2_solar_irradiance_an", IRRADIANCE[1] * np.array([1.0, 2.0, 1.0, 1.0]))
    before, after = (convert(str(folder), "physical", SHAPE).refs for folder in (product(tmp_path / "other"), path))
    # Detector 1 has seen every fourth row of the 0.5 km grid, of which two lie under a pixel.
    fine = frame().refs.reshape(HEIGHT, 2, WIDTH, 2, 6).mean(3)
    expected = np.where(
        np.arange(HEIGHT)[:, np.newaxis] % 2 == 0, fine[:, 0, :, 1] + fine[:, 1, :, 1] / 2, before[..., 1] * 2
    )
    np.testing.assert_allclose(after[..., 1], expected / 2, atol=2e-4)
    np.testing.assert_array_equal(after[..., 0], before[..., 0])


def test_radiances_of_old_baselines_are_calibrated_and_of_new_ones_not(tmp_path):
    new, old = (convert(str(product(tmp_path, name=name)), "physical", SHAPE).refs for name in (NAME, OLD))
    assert NOTICE == (0.97, 0.98, 0.98, 1.0, 1.11, 1.13)
    np.testing.assert_allclose(old / new, np.broadcast_to(NOTICE, old.shape), rtol=1e-12)
    new, old = (convert(str(tmp_path / name), "dataset", SHAPE).refs for name in (NAME, OLD))
    np.testing.assert_array_equal(old, new)  # the data set's converter knows nothing of it


def test_clear_sky_of_baseline_005_is_no_missing_value(small):
    """Its bayes_in has the _FillValue 0, which is clear."""
    with h5py.File(small / "flags_in.nc") as file:
        assert file["bayes_in"].attrs["_FillValue"] == 0
    _, measured, cloud = read_scene(str(small), SETTINGS)
    np.testing.assert_array_equal(cloud, frame().bayes > 0)
    assert measured.min() == 1


@pytest.mark.parametrize(("zenith", "by_day"), [(88.0, True), (95.0, False)])
def test_the_night_has_no_reflectance(tmp_path, zenith, by_day):
    path = str(product(tmp_path, zenith=zenith))
    physical, like = convert(path, "physical", SHAPE), convert(path, "dataset", SHAPE)
    assert np.isfinite(physical.refs).any() == by_day
    assert np.isnan(physical.refs).any()  # the terminator is in it, or it is night all over
    assert np.isfinite(like.refs).all()


def test_a_product_of_the_night_without_channels_that_need_the_sun(tmp_path):
    path = product(tmp_path, zenith=100.0, refs=None)
    assert not (path / "S1_radiance_an.nc").exists()
    assert (convert(str(path), "dataset", SHAPE).refs == 0).all()
    assert np.isnan(convert(str(path), "physical", SHAPE).refs).all()
    image, measured, _ = read_scene(str(path), SETTINGS)
    assert not image[..., :6].any()
    assert measured.min() == 1


@pytest.mark.parametrize("rows", [70, 73])
def test_other_numbers_of_rows_are_resized_as_the_data_set_s_were(tmp_path, rows):
    path = str(product(tmp_path, height=rows))
    made = convert(path, "dataset", SHAPE)
    assert made.refs.shape == (HEIGHT, WIDTH, 6)
    between = (made.bayes > 0) & (made.bayes < 255)
    assert between.any()
    assert read_scene(path, SETTINGS).image.shape == (1, HEIGHT, WIDTH, 9)
    beside = ancillary.read(path, SHAPE)
    assert beside.latitude is beside.confidence is beside.summary is None  # they belong to other pixels
    assert convert(path, "physical", SHAPE).bts.shape[0] == rows
    assert read_scene(path, PHYSICAL).measured.shape == (rows, WIDTH)


def test_what_lies_beside_a_scene_is_read(small):
    beside, source = ancillary.read(str(small), SHAPE), frame()
    np.testing.assert_allclose(degrees(beside.latitude), source.latitude, atol=1e-6)
    np.testing.assert_allclose(degrees(beside.longitude), source.longitude, atol=1e-6)
    expected = source.zenith.at(np.arange(HEIGHT), np.arange(WIDTH))
    np.testing.assert_allclose(beside.solar_zenith, expected, atol=1e-4)
    np.testing.assert_array_equal(beside.summary, source.bayes > 0)
    np.testing.assert_array_equal(beside.confidence.any_of("land"), np.broadcast_to(np.arange(WIDTH) < 52, SHAPE))
    assert not beside.confidence.any_of("a flag of later products").any()


def test_attributes_as_the_netcdf_library_writes_them(tmp_path):
    """Arrays of one, and text as bytes."""
    path = product(tmp_path)
    expected = convert(str(path), "dataset", SHAPE)
    with h5py.File(path / "S7_BT_in.nc", "r+") as file:
        file.attrs["resolution"] = np.bytes_(b"[ 1000 1000 ]")
        for name in ("scale_factor", "add_offset"):
            file["S7_BT_in"].attrs[name] = np.array([file["S7_BT_in"].attrs[name]])
    np.testing.assert_array_equal(convert(str(path), "dataset", SHAPE).bts, expected.bts)


def lose(name):
    return lambda path: (path / name).unlink()


def tear(name):
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:700])


def replace(name, variable, values, **attributes):
    return lambda path: change(path / name, variable, values, **attributes)


def unset(name, attribute):
    def work(path):
        with h5py.File(path / name, "r+") as file:
            del file.attrs[attribute]

    return work


@pytest.mark.parametrize("like", ["dataset", "physical"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose("S3_radiance_an.nc"), r"S3_radiance_an\.nc is missing: the product is not whole"),
        (lose("S8_BT_in.nc"), r"S8_BT_in\.nc is missing"),
        (lose("S6_quality_an.nc"), r"S6_quality_an\.nc is missing"),
        (lose("geometry_tn.nc"), r"geometry_tn\.nc is missing"),
        (tear("S5_radiance_an.nc"), r"S5_radiance_an\.nc: cannot be read as HDF5"),
        (tear("flags_in.nc"), r"flags_in\.nc: cannot be read as HDF5"),
        (unset("S1_radiance_an.nc", "resolution"), r"S1_radiance_an\.nc: has no usable resolution"),
        (replace("S7_BT_in.nc", "S7_BT_in", np.zeros((5, 5), np.int16)), r"S7 to S9 have the shapes"),
        (replace("S7_BT_in.nc", "S7_BT_in", np.zeros(5, np.int16)), r"S7 to S9 have the shapes"),
        (
            replace("S2_quality_an.nc", "S2_solar_irradiance_an", np.zeros(4)),
            r"S2_solar_irradiance_an' holds .*positive",
        ),
        (
            replace("S9_BT_in.nc", "S9_BT_in", np.zeros(SHAPE, np.int16), scale_factor="much"),
            r"S9_BT_in': cannot be unpacked",
        ),
        (replace("geometry_tn.nc", "solar_zenith_tn", np.zeros((2, 2))), r"at least 4 x 4 tie points expected"),
        (
            replace("flags_in.nc", "bayes_in", np.zeros((3, 4), np.uint8)),
            r"bayes_in has shape \(3, 4\), S7 \(72, 104\)",
        ),
        (
            replace("flags_in.nc", "confidence_in", np.zeros(SHAPE, np.uint16), flag_meanings="a b"),
            r"no flags of an image",
        ),
    ],
)
def test_a_product_that_is_not_whole_is_one_line(tmp_path, small, like, damage, message):
    path = tmp_path / small.name
    shutil.copytree(small, path)
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        convert(str(path), like, SHAPE)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose("indices_an.nc"), r"indices_an\.nc is missing"),
        (replace("indices_an.nc", "detector_an", np.zeros((3, 4), np.uint8)), r"'detector_an' has shape \(3, 4\)"),
        (lambda path: path.rename(path.with_name("S3A_SL_1_mine.SEN3")), r"does not end in a processing baseline"),
    ],
)
def test_what_only_the_physical_conversion_needs(tmp_path, small, damage, message):
    shutil.copytree(small, tmp_path / small.name)
    damage(tmp_path / small.name)
    path = str(next(tmp_path.iterdir()))
    assert convert(path, "dataset", SHAPE).refs.shape == (*SHAPE, 6)
    with pytest.raises(UserError, match=message):
        convert(path, "physical", SHAPE)


def test_a_product_without_flags_can_be_masked_but_not_trained_on(tmp_path, small):
    from cloudmask.data.patches import read_patches

    path = tmp_path / small.name
    shutil.copytree(small, path)
    lose("flags_in.nc")(path)
    assert read_scene(str(path), SETTINGS).cloud is None
    with pytest.raises(UserError, match=r"has no labels for data\.labels: bayes"):
        read_patches(str(path), SETTINGS)


def test_products_are_listed_beside_files_and_alone(tmp_path, small):
    shutil.copytree(small, tmp_path / "deeper" / small.name)
    (tmp_path / "S3A_1.hdf").write_bytes(b"x")
    (tmp_path / "deeper" / small.name / "S3A_inside.hdf").write_bytes(b"x")  # part of the product
    found = list_scenes(str(tmp_path))
    assert [scene.name for scene in found] == ["S3A_1.hdf", small.name]
    assert found[1].bytes == sum(file.stat().st_size for file in (tmp_path / "deeper" / small.name).iterdir())
    assert [scene.name for scene in list_scenes(str(small))] == [small.name]
    assert [scene.name for scene in list_scenes(str(tmp_path / "S3A_1.hdf"))] == ["S3A_1.hdf"]
    found[1].check()
    (tmp_path / "deeper" / small.name / "S1_radiance_an.nc").unlink()
    with pytest.raises(UserError, match="changed during the run"):
        found[1].check()


def test_a_file_that_is_named_like_a_product(tmp_path):
    (tmp_path / NAME).write_bytes(b"x")
    with pytest.raises(UserError, match="is named like a product but is not a folder"):
        list_scenes(str(tmp_path))
    with pytest.raises(UserError, match="is not a product's folder"):
        Product(str(tmp_path / NAME))

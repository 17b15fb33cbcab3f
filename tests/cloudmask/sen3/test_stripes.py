"""S4 to S6 of stripe b, which a second row of detectors measures: its radiances, detectors, irradiances, exceptions and
place, in both forms of products."""

import h5py
import numpy as np
import pytest

from cloudmask.config import DataSettings
from cloudmask.data.normalize import reflectance_of
from cloudmask.data.scenes import read_scene
from cloudmask.sen3.conversion import convert
from cloudmask.sen3.writer import IRRADIANCE
from common.errors import UserError
from tests.cloudmask.sen3.products import add_stripe_b, change, frame, product
from tests.cloudmask.sen3.test_forms import same
from tests.cloudmask.sen3.test_sun import set_offset
from tests.cloudmask.sen3.zarr_products import needs_zarr, to_zarr
from tests.helpers import HEIGHT, PATCH, WIDTH

SHAPE = (HEIGHT, WIDTH)


@pytest.fixture
def both(tmp_path):
    folder = product(tmp_path)
    add_stripe_b(folder)
    return folder


@pytest.mark.parametrize("like", ["dataset", "physical"])
def test_stripe_b_replaces_s4_to_s6_alone(both, like):
    """Half of the radiance over twice the irradiance."""
    a, b = (convert(str(both), like, SHAPE, radiances=True, stripe=stripe) for stripe in ("a", "b"))
    np.testing.assert_array_equal(b.refs[..., :3], a.refs[..., :3])
    np.testing.assert_allclose(b.refs[..., 3:], a.refs[..., 3:] / 4, rtol=4e-5)  # by detectors of other irradiances
    np.testing.assert_allclose(b.rads[..., 3:], a.rads[..., 3:] / 2, rtol=1e-12)
    np.testing.assert_array_equal(b.bts, a.bts)


def test_each_pixel_has_the_irradiance_of_its_detector_in_its_stripe(both):
    """Detectors of stripe b count the other way round here: 3 over each pixel's upper row, 2 over its lower one."""
    change(both / "S5_quality_bn.nc", "S5_solar_irradiance_bn", IRRADIANCE[4] * np.array([1.0, 2.0, 4.0, 8.0]))
    made = convert(str(both), "physical", SHAPE, stripe="b").refs[0, :, 4]
    fine = 0.5 * frame().refs[:2, :, 4].reshape(2, WIDTH, 2).mean(-1)
    np.testing.assert_allclose(made, (fine[0] / 8 + fine[1] / 4) / 2, rtol=2e-4)


def test_exceptions_are_those_of_the_stripe(both):
    exception = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    exception[20:22, 30:32] = 16
    with h5py.File(both / "S6_radiance_bn.nc", "r+") as file:
        attributes = {"flag_masks": np.array([16], np.uint8), "flag_meanings": "saturation"}
        file.create_dataset("S6_exception_bn", data=exception).attrs.update(attributes)
    a, b = (convert(str(both), "physical", SHAPE, stripe=stripe).refs for stripe in ("a", "b"))
    assert np.argwhere(np.isnan(b)).tolist() == [[10, 15, 5]]
    assert np.isfinite(a).all()


def test_irradiances_of_viscal_have_stripe_b_behind_stripe_a(both):
    expected = convert(str(both), "physical", SHAPE, stripe="b").refs
    with h5py.File(both / "viscal.nc", "w") as file:
        for band in (4, 5, 6):
            with h5py.File(both / f"S{band}_quality_an.nc") as a, h5py.File(both / f"S{band}_quality_bn.nc") as b:
                eight = np.r_[a[f"S{band}_solar_irradiance_an"][()], b[f"S{band}_solar_irradiance_bn"][()]]
            (both / f"S{band}_quality_bn.nc").unlink()
            file[f"S{band}_solar_irradiances"] = np.stack([eight, eight * 3], axis=1)
    np.testing.assert_array_equal(convert(str(both), "physical", SHAPE, stripe="b").refs, expected)
    change(both / "viscal.nc", "S4_solar_irradiances", np.ones((4, 2)))
    with pytest.raises(UserError, match=r"'S4_solar_irradiances' has shape \(4, 2\): irradiances of 8 detectors"):
        convert(str(both), "physical", SHAPE, stripe="b")


def test_stripe_b_lies_where_its_own_files_say(both):
    """Its first row one behind: S4 to S6 are the mean of other rows, S1 to S3 as before."""
    before = convert(str(both), "physical", SHAPE, stripe="b").refs
    for band in (4, 5, 6):
        with h5py.File(both / f"S{band}_radiance_bn.nc") as file:
            start = int(file.attrs["start_offset"][0])
        set_offset(both / f"S{band}_radiance_bn.nc", start_offset=start - 1)
    after = convert(str(both), "physical", SHAPE, stripe="b").refs
    np.testing.assert_array_equal(after[..., :3], before[..., :3])
    fine = 0.25 * frame().refs.reshape(2 * HEIGHT, WIDTH, 2, 6).mean(2)[..., 3:]
    np.testing.assert_allclose(after[:-1, :, 3:], ((fine[1:-1:2] + fine[2::2]) / 2), rtol=0.002)


def test_the_factors_of_calibration_are_the_band_s(tmp_path):
    folder = product(tmp_path)
    add_stripe_b(folder)
    none, own = (
        convert(str(folder), "physical", SHAPE, stripe="b", calibration=each).refs
        for each in ("none", (1.0, 1.0, 1.0, 2.0, 3.0, 0.5))
    )
    np.testing.assert_allclose(own / none, np.broadcast_to([1, 1, 1, 2, 3, 0.5], none.shape), rtol=1e-12)


def test_the_setting_is_obeyed_where_scenes_are_read(both):
    settings = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH, stripe="b")
    image = read_scene(str(both), settings).image[0, ..., :6]
    made = convert(str(both), "dataset", SHAPE, np.float32, stripe="b").refs
    np.testing.assert_allclose(reflectance_of(image), made, atol=1e-6)


def test_a_product_without_stripe_b_says_which_setting_wants_it(tmp_path):
    folder = product(tmp_path)
    with pytest.raises(UserError, match=r"S4_radiance_bn\.nc is missing: .* or take data\.stripe: a"):
        convert(str(folder), "physical", SHAPE, stripe="b")


@pytest.mark.parametrize("form", [2, 3])
def test_in_zarr_it_is_the_same_scene(both, tmp_path, form):
    needs_zarr(form)
    zarr = to_zarr(both, tmp_path, form)
    for like in ("dataset", "physical"):
        first, second = (convert(str(path), like, SHAPE, radiances=True, stripe="b") for path in (both, zarr))
        same(first._replace(bayes=None), second)

"""The sun's angle at each pixel, and which pixels of the 0.5 km grid lie over one of the 1 km grid: real products count
rows along the orbit, from tens of thousands on, and their two grids begin up to one row apart."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask.sen3.conversion import convert
from cloudmask.sen3.product import Product
from cloudmask.sen3.writer import IRRADIANCE, START_ROW
from common.errors import UserError
from tests.cloudmask.sen3.products import change, frame, product
from tests.helpers import GOLDEN, HEIGHT, ROOT, WIDTH

SHAPE = (HEIGHT, WIDTH)
GENERATOR = ROOT.parent / "shared" / "real-slstr" / "make_rbt.py"
# Of the files that the generator writes, those that no test here reads.
UNREAD = ["flags_*", "indices_*", "time_*", "met_*", "viscal*", "S[2-9]*", "F*", "*_f?.nc", "*_bn.nc", "cartesian_*"]


def made_product(folder: Path, seed: int, *options: str) -> Path:
    """A product with the names, types, attributes and offsets of real ones."""
    if not GENERATOR.is_file():
        pytest.skip(f"no {GENERATOR.name} here, which writes realistic products")
    subprocess.run([sys.executable, str(GENERATOR), str(seed), str(folder), *options], check=True)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def realistic(tmp_path_factory):
    """Makes a product of 240 rows, its grids `shift` apart."""
    made: dict[int, Path] = {}

    def make(shift: int) -> Path:
        if shift not in made:
            drops = [word for pattern in UNREAD for word in ("--drop", pattern)]
            options = ["--nadir", "--rows", "240", "--shift", str(shift)]
            made[shift] = made_product(tmp_path_factory.mktemp(f"shift{shift}"), 1, *options, *drops)
        return made[shift]

    return make


NAMES = {500: "S1_radiance", 1000: "latitude"}


@pytest.mark.parametrize("metres", [500, 1000])
@pytest.mark.parametrize("shift", [-1, 1])
def test_the_sun_stands_where_satpy_has_it(realistic, shift, metres):
    """tests/golden/satpy_sun.npz: satpy 0.60.0's solar_zenith_angle, [::37, ::211], which it interpolates by the x and
    y of the cartesian files, not by row numbers."""
    golden = np.load(GOLDEN / "satpy_sun.npz")[f"shift{shift}_{metres}"]
    ours = Product(str(realistic(shift))).solar_zenith(NAMES[metres])[::37, ::211]
    # At the edge of the tie points our spline holds the last value, where satpy's goes on.
    inner = slice(1, -1) if metres == 500 else slice(None)
    np.testing.assert_allclose(ours[inner], golden[inner], atol=0.01)


def test_the_sun_rises_along_the_track_as_its_tie_points_do(realistic):
    """By the generator's rule: 15 degrees from the first row to the last."""
    column = Product(str(realistic(1))).solar_zenith(NAMES[1000])[:, 700]
    np.testing.assert_allclose(column[[0, -1]], [40.80, 55.78], atol=0.01)
    assert (np.diff(column) > 0).all()


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_the_pixels_that_are_averaged_lie_over_the_1_km_pixel(realistic, shift):
    """By latitude: the generator's formula is linear, so the first of the 2 x 2 pixels has the 1 km pixel's own."""
    folder = realistic(shift)
    with h5py.File(folder / "geodetic_an.nc") as fine, h5py.File(folder / "geodetic_in.nc") as coarse:
        there, here = fine["latitude_an"][()] * 1e-6, coarse["latitude_in"][()] * 1e-6
    np.testing.assert_allclose(there[2 - shift :: 2, ::2][:230], here[1:][:230], atol=2e-6)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_physical_averages_the_pixels_over_each_1_km_pixel(tmp_path, shift):
    source = frame()
    made = convert(str(product(tmp_path, shift=shift)), "physical", SHAPE).refs
    padded = np.pad(source.refs, ((1, 1), (0, 0), (0, 0)), constant_values=np.nan)
    over = padded[1 - shift :][: 2 * HEIGHT].reshape(HEIGHT, 2, WIDTH, 2, 6)
    np.testing.assert_allclose(made, np.nanmean(over, (1, 3)), atol=2e-4)  # the packing's steps


@pytest.mark.parametrize(("like", "right"), [("dataset", True), ("dataset_last_row", False), ("physical", True)])
def test_each_row_has_its_own_sun_but_for_the_earlier_converter(tmp_path, like, right):
    """refs / rads is pi / (E0 cos(zenith)): of an even scene, by row."""
    even = np.full((2 * HEIGHT, 2 * WIDTH, 6), 0.4)
    made = convert(str(product(tmp_path, refs=even)), like, SHAPE, radiances=True)
    rows = np.arange(HEIGHT) if right else np.full(HEIGHT, HEIGHT - 1.0)
    zenith = frame().zenith.at(rows + (0.25 if right else 0), np.array([WIDTH // 2 + 0.25]))[:, 0]
    ratio = (made.refs / made.rads)[4:-4, WIDTH // 2, 0] * IRRADIANCE[0] / np.pi
    np.testing.assert_allclose(ratio, 1 / np.cos(np.deg2rad(zenith[4:-4])), rtol=1e-4)


def shorten(path: Path, rows: slice) -> None:
    """Cut rows of the 0.5 km grid off."""
    for file, name in [(f"S{band}_radiance_an.nc", f"S{band}_radiance_an") for band in range(1, 7)] + [
        ("indices_an.nc", "detector_an")
    ]:
        with h5py.File(path / file) as opened:
            values = opened[name][rows]
        change(path / file, name, values)


def test_a_granule_that_ends_between_two_rows_of_1_km(tmp_path):
    """2399 rows of 0.5 km over 1200 of 1 km, here 143 over 72."""
    whole, cut = product(tmp_path / "whole"), product(tmp_path / "cut")
    shorten(cut, np.s_[:-1])
    expected, made = (convert(str(path), "physical", SHAPE).refs for path in (whole, cut))
    np.testing.assert_array_equal(made[:-1], expected[:-1])
    refs = frame().refs[-2].reshape(WIDTH, 2, 6).mean(1)
    np.testing.assert_allclose(made[-1], refs, atol=2e-4)
    assert convert(str(cut), "dataset", SHAPE).refs.shape == (*SHAPE, 6)


def test_a_granule_of_another_length_and_tie_points_of_another(tmp_path):
    path = product(tmp_path, height=120)
    with h5py.File(path / "geometry_tn.nc") as file:
        degrees = file["solar_zenith_tn"][()]
    for values in (degrees[:-2], np.pad(degrees, ((0, 3), (0, 0)), mode="edge")):
        change(path / "geometry_tn.nc", "solar_zenith_tn", values)
        assert convert(str(path), "dataset", SHAPE).refs.shape == (*SHAPE, 6)
        assert convert(str(path), "physical", SHAPE).refs.shape == (120, WIDTH, 6)


def set_offset(path: Path, **attributes: float) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs.update({name: np.array([value], np.int32) for name, value in attributes.items()})


@pytest.mark.parametrize("like", ["dataset", "physical"])
@pytest.mark.parametrize(
    ("file", "offset", "message"),
    [
        (
            "geometry_tn.nc",
            {"start_offset": 0},
            rf"the image lies at rows {START_ROW}\.0 to .* of 72 rows of tie points",
        ),
        ("geometry_tn.nc", {"track_offset": 90}, "the image lies at columns .* of tie points"),
        ("S1_radiance_an.nc", {"start_offset": START_ROW}, "the image lies at rows"),
    ],
)
def test_offsets_that_cannot_be(tmp_path, like, file, offset, message):
    path = product(tmp_path)
    set_offset(path / file, **offset)
    with pytest.raises(UserError, match=message) as caught:
        convert(str(path), like, SHAPE)
    assert str(path) in str(caught.value)


def test_grids_that_do_not_lie_over_each_other(tmp_path):
    path = product(tmp_path)
    for band in range(1, 7):
        set_offset(path / f"S{band}_radiance_an.nc", start_offset=2 * START_ROW + 2)
    with pytest.raises(UserError, match="the first at row -2 and column 0"):
        convert(str(path), "physical", SHAPE)
    assert convert(str(path), "dataset", SHAPE).refs.shape == (*SHAPE, 6)

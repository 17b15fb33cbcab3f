"""Everything that a product may be: zipped, in a folder of its own name, with or without labels, flags and files that
some have, of other lengths."""

import shutil
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask.config import DataSettings
from cloudmask.data import ancillary
from cloudmask.data.patches import read_patches
from cloudmask.data.scenes import read_scene
from cloudmask.sen3.conversion import convert
from cloudmask.sen3.files import Archive
from cloudmask.sen3.writer import IRRADIANCE
from common.errors import UserError
from tests.cloudmask.sen3.products import NAME, change, frame, product
from tests.helpers import HEIGHT, PATCH, WIDTH

SHAPE = (HEIGHT, WIDTH)
SETTINGS = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH)
OLD = NAME.replace("_005.SEN3", "_004.SEN3")


def settings(**values) -> DataSettings:
    return SETTINGS.model_copy(update=values)


def same(first, second) -> None:
    for name, array in first._asdict().items():
        np.testing.assert_array_equal(array, getattr(second, name), err_msg=name)


def zipped(folder: Path, target: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", compression) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return target


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("like", ["dataset", "physical"])
def test_a_zipped_product_is_the_product(tmp_path, like, compression):
    folder = product(tmp_path)
    archive = zipped(folder, tmp_path / f"{NAME}.zip", compression)
    same(*(convert(str(path), like, SHAPE, radiances=True) for path in (folder, archive)))
    same(*(ancillary.read(str(path), SHAPE)._replace(confidence=None, folder="") for path in (folder, archive)))


def test_an_uncompressed_variable_in_an_archive(tmp_path):
    folder = product(tmp_path)
    change(folder / "S8_BT_in.nc", "S8_BT_in", np.full(SHAPE, 1000, np.int16))
    archive = zipped(folder, tmp_path / f"{NAME}.zip", zipfile.ZIP_STORED)
    same(*(convert(str(path), "dataset", SHAPE) for path in (folder, archive)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a zip", r"cannot be read as a zip archive"),
        ({}, r"holds 0 folders \*\.SEN3 or \*\.zarr, one expected: unpack it"),
        ({"A.SEN3/x": b"", "B.SEN3/x": b""}, r"holds 2 folders"),
        ({"A.SEN3/x": b""}, r"S7_BT_in\.nc is missing: the product is not whole"),
        ({"A.SEN3/S7_BT_in.nc": b"\x89HDF"}, r"zip/A\.SEN3/S7_BT_in\.nc: cannot be read as HDF5"),
        ({"A.SEN3/../../S7_BT_in.nc": b""}, r"S7_BT_in\.nc is missing: the product is not whole"),
    ],
)
def test_archives_that_are_no_product_are_one_line(tmp_path, content, message):
    path = tmp_path / f"{NAME}.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(UserError, match=message) as caught:
        convert(str(path), "dataset", SHAPE)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_threads_read_an_archive_at_once(tmp_path):
    """With an extra field before each file, as zip and archives of data centres write it, Python 3.13.0's ZipFile loses
    its place."""
    path = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for number in range(40):
            entry = zipfile.ZipInfo(f"{NAME}/{number}")
            entry.extra = b"UT\x05\x00\x01\x00\x00\x00\x00"
            opened.writestr(entry, bytes([number]) * 1000)
    archive, interval = Archive(path), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            contents = list(pool.map(lambda number: archive.read(str(number % 40)), range(4000)))
    finally:
        sys.setswitchinterval(interval)
    assert contents == [bytes([number % 40]) * 1000 for number in range(4000)]


def test_an_archive_with_a_wrong_checksum_is_named(tmp_path):
    archive = zipped(product(tmp_path), tmp_path / f"{NAME}.zip", zipfile.ZIP_STORED)
    with zipfile.ZipFile(archive) as opened:
        entry = opened.getinfo(f"{NAME}/S8_BT_in.nc")
    content = bytearray(archive.read_bytes())
    content[entry.header_offset + 200] ^= 1
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"S8_BT_in\.nc: cannot be unpacked \(Bad CRC-32.*copy the archive again"):
        convert(str(archive), "dataset", SHAPE)


def test_the_product_in_a_folder_of_its_own_name(tmp_path):
    folder = product(tmp_path / "plain")
    shutil.copytree(folder, tmp_path / NAME / NAME)
    same(*(convert(str(path), "physical", SHAPE) for path in (folder, tmp_path / NAME)))


def test_irradiances_of_viscal_where_the_bands_files_are_missing(tmp_path):
    """[detector, view]: the nadir view's, and of the short-wave infrared stripe a's first."""
    folder = product(tmp_path)
    expected = convert(str(folder), "physical", SHAPE).refs
    with h5py.File(folder / "viscal.nc", "w") as file:
        for band, irradiance in enumerate(IRRADIANCE, 1):
            with h5py.File(folder / f"S{band}_quality_an.nc") as quality:
                by_detector = quality[f"S{band}_solar_irradiance_an"][()]
            (folder / f"S{band}_quality_an.nc").unlink()
            both = np.concatenate([by_detector, np.full(4, irradiance * 2)]) if band > 3 else by_detector
            file[f"S{band}_solar_irradiances"] = np.stack([both, both * 3], axis=1)
    np.testing.assert_array_equal(convert(str(folder), "physical", SHAPE).refs, expected)
    (folder / "viscal.nc").unlink()
    with pytest.raises(UserError, match=r"S1_quality_an\.nc is missing"):
        convert(str(folder), "physical", SHAPE)


EXCEPTIONS = (
    "ISP_absent pixel_absent not_decompressed no_signal saturation invalid_radiance no_parameters unfilled_pixel"
)


def with_exceptions(folder: Path, values: np.ndarray) -> None:
    masks = (1 << np.arange(8)).astype(np.uint8)
    attributes = {"flag_masks": masks, "flag_meanings": EXCEPTIONS}
    with h5py.File(folder / "S2_radiance_an.nc", "r+") as file:
        file.create_dataset("S2_exception_an", data=values).attrs.update(attributes)


@pytest.mark.parametrize(
    ("bit", "kept"), [(0, True), (1, True), (2, True), (3, False), (4, False), (5, False), (6, False)]
)
def test_saturated_and_invalid_pixels_are_no_measurements_but_filled_ones_are(tmp_path, bit, kept):
    """pixel_absent (bit 1) is a fifth of a real product's pixels (real-slstr/subset_20170313_24x30.nc): the neighbour's
    measurement stands there."""
    folder = product(tmp_path)
    before = convert(str(folder), "physical", SHAPE).refs
    exception = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    exception[20:22, 30:32] = 1 << bit
    with_exceptions(folder, exception)
    after = convert(str(folder), "physical", SHAPE).refs
    changed = np.zeros_like(after, dtype=bool)
    changed[10, 15, 1] = not kept
    np.testing.assert_array_equal(after, np.where(changed, np.nan, before))
    like = convert(str(folder), "dataset", SHAPE).refs  # the data set's converter does not look at them
    assert np.isfinite(like).all()


def test_factors_of_the_user_s_own_and_none(tmp_path):
    folder = str(product(tmp_path, name=OLD))
    notice, none, own = (
        convert(folder, "physical", SHAPE, calibration=each).refs
        for each in ("notice", "none", (1.0, 2.0, 1.0, 1.0, 1.0, 0.5))
    )
    np.testing.assert_allclose(
        notice / none, np.broadcast_to([0.97, 0.98, 0.98, 1.0, 1.11, 1.13], none.shape), rtol=1e-12
    )
    np.testing.assert_allclose(own / none, np.broadcast_to([1, 2, 1, 1, 1, 0.5], none.shape), rtol=1e-12)


def test_factors_are_given_as_settings():
    from cloudmask import config

    loaded = config.load(None, ["data.calibration=[0.97, 0.98, 0.98, 1.0, 1.11, 1.13]"]).data.calibration
    assert loaded == (0.97, 0.98, 0.98, 1.0, 1.11, 1.13)
    assert config.load(None, ["data.calibration=none"]).data.calibration == "none"
    with pytest.raises(UserError, match=r"data\.calibration"):
        config.load(None, ["data.calibration=[1.0, 2.0]"])


def without_bayes(folder: Path) -> None:
    with h5py.File(folder / "flags_in.nc", "r+") as file:
        del file["bayes_in"]


def all_255(folder: Path) -> None:
    change(folder / "flags_in.nc", "bayes_in", np.full(SHAPE, 255, np.uint8))


@pytest.mark.parametrize("lose", [without_bayes, all_255, lambda folder: (folder / "flags_in.nc").unlink()])
@pytest.mark.parametrize("like", ["dataset", "physical"])
def test_a_product_without_labels_is_masked_but_not_trained_on(tmp_path, like, lose):
    """255 in every pixel is how a product of 2017 says that there is no Bayesian mask."""
    folder = product(tmp_path)
    lose(folder)
    chosen = settings(sen3=like)
    assert read_scene(str(folder), chosen).cloud is None
    with pytest.raises(UserError, match=r"005\.SEN3: has no labels for data\.labels: bayes \(.*255 in every pixel"):
        read_patches(str(folder), chosen)


def test_255_in_some_pixels_is_cloud(tmp_path):
    folder = product(tmp_path)
    bayes = frame().bayes.copy()
    bayes[:5] = 255
    change(folder / "flags_in.nc", "bayes_in", bayes)
    np.testing.assert_array_equal(read_scene(str(folder), SETTINGS).cloud, bayes > 0)


@pytest.mark.parametrize("like", ["dataset", "physical"])
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"labels": "summary"}, frame().confidence & 16384),
        ({"labels": "cloud"}, np.arange(WIDTH) % 4 > 0),
        ({"labels": "cloud", "cloud_tests": ("gross_cloud",)}, np.arange(WIDTH) % 4 >= 2),
        ({"labels": "cloud", "cloud_tests": ("gross_cloud", "visible")}, np.arange(WIDTH) % 4 > 0),
    ],
)
def test_the_operational_mask_and_its_tests_are_labels_too(tmp_path, like, labels, expected):
    folder = product(tmp_path)
    flags = np.broadcast_to(np.arange(WIDTH) % 4, SHAPE).astype(np.uint16)
    with h5py.File(folder / "flags_in.nc", "r+") as file:
        attributes = {"flag_masks": np.array([1, 2], np.uint16), "flag_meanings": "visible gross_cloud"}
        file.create_dataset("cloud_in", data=flags).attrs.update(attributes)
    cloud = read_scene(str(folder), settings(sen3=like, **labels)).cloud
    np.testing.assert_array_equal(cloud, np.broadcast_to(expected, SHAPE) > 0)
    with pytest.raises(UserError, match=r"there is no test 'fog'; it has visible, gross_cloud"):
        read_scene(str(folder), settings(sen3=like, labels="cloud", cloud_tests=("fog",)))


@pytest.mark.parametrize("rows", [70, 73, 75])
def test_a_granule_of_a_row_more_or_less_is_masked_and_trained_on_as_it_is(tmp_path, rows):
    folder = product(tmp_path, height=rows)
    scene = read_scene(str(folder), settings(sen3="physical"), lambda shape: (0, -shape[0] % 8, 0, 0))
    assert scene.measured.shape == scene.cloud.shape == (rows, WIDTH)
    assert scene.image.shape == (1, rows + -rows % 8, WIDTH, 9)
    images, cloud, _ = read_patches(str(folder), settings(sen3="physical"))
    top = 4 + (rows - HEIGHT) // 2
    np.testing.assert_array_equal(images[0], scene.image[0, top : top + PATCH, 4 : 4 + PATCH])
    np.testing.assert_array_equal(cloud[0, ..., 0], scene.cloud[top : top + PATCH, 4 : 4 + PATCH])


def test_a_granule_of_quite_another_length_is_masked_but_not_trained_on(tmp_path):
    folder = product(tmp_path, height=120)
    assert read_scene(str(folder), settings(sen3="physical")).measured.shape == (120, WIDTH)
    with pytest.raises(UserError, match=r"bts has shape \(120, 104, 3\), \(72, 104, 3\) expected \(data\.image_h"):
        read_patches(str(folder), settings(sen3="physical"))
    assert read_patches(str(folder), SETTINGS)[0].shape == (6, PATCH, PATCH, 9)  # resized


def test_coordinates_stay_in_microdegrees(tmp_path):
    folder = product(tmp_path)
    with h5py.File(folder / "geodetic_in.nc") as file:
        packed = file["latitude_in"][()]
    np.testing.assert_array_equal(ancillary.read(str(folder), SHAPE).latitude, packed)
    change(folder / "geodetic_in.nc", "latitude_in", packed * 1e-6, scale_factor=1.0)
    np.testing.assert_array_equal(ancillary.read(str(folder), SHAPE).latitude, packed)

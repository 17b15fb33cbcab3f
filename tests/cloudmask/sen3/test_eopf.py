"""Products in ESA's EOPF form: the same scene bit for bit as of the SEN3 product, and what a hostile one may not do."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cloudmask.config import DataSettings
from cloudmask.data import ancillary
from cloudmask.data.patches import read_patches
from cloudmask.data.scenes import read_scene
from cloudmask.sen3 import eopf
from cloudmask.sen3.conversion import convert
from cloudmask.sen3.product import Product
from common.errors import UserError
from tests.cloudmask.sen3.products import NAME, frame, product
from tests.cloudmask.sen3.test_forms import zipped
from tests.cloudmask.sen3.test_sun import made_product
from tests.cloudmask.sen3.zarr_products import NAME as ZARR_NAME
from tests.cloudmask.sen3.zarr_products import needs_zarr, to_zarr
from tests.helpers import HEIGHT, PATCH, ROOT, WIDTH

SHAPE = (HEIGHT, WIDTH)
SETTINGS = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH)
EOPF = ROOT.parent / "shared" / "eopf"
RADIANCE = "measurements/anadir/s1_radiance_an"
KELVIN = "measurements/inadir/s8_bt_in"


def same_scene(sen3: str, zarr: str, like: str, shape=SHAPE, stripe="a") -> None:
    first, second = (convert(path, like, shape, radiances=True, stripe=stripe) for path in (sen3, zarr))
    assert second.bayes is None
    for name, array in second._asdict().items():
        if name != "bayes":
            np.testing.assert_array_equal(array, getattr(first, name), err_msg=name)


@pytest.mark.parametrize("like", ["dataset", "dataset_last_row", "physical"])
@pytest.mark.parametrize(("form", "packing"), [(2, ""), (2, "blosc"), (2, "zstd"), (3, ""), (3, "zstd")])
def test_the_scene_is_that_of_the_sen3_product(tmp_path, form, packing, like):
    needs_zarr(form)
    refs, bts = frame().refs.copy(), frame().bts.copy()
    refs[:9, :, 2], bts[5:7] = np.nan, np.nan  # gaps, which fill_value marks and _FillValue does not
    sen3 = product(tmp_path, refs=refs, bts=bts, shift=1)
    same_scene(str(sen3), str(to_zarr(sen3, tmp_path, form, packing)), like)


@pytest.mark.parametrize("form", [2, 3])
def test_what_eopf_makes_of_a_realistic_product_is_the_same_scene(tmp_path, form):
    """eopf 3.0.0's conversions of the product that make_rbt.py writes of seed 1."""
    needs_zarr(form)
    if not EOPF.is_dir():
        pytest.skip("no products of eopf here")
    with zipfile.ZipFile(EOPF / f"zarr{form}.zip") as archive:
        archive.extractall(tmp_path)
    sen3, (zarr,) = made_product(tmp_path / "sen3", 1, "--rows", "60", "--nadir"), tmp_path.glob("*.zarr")
    for like in ("dataset", "physical"):
        same_scene(str(sen3), str(zarr), like, (60, 1500))
        same_scene(str(sen3), str(EOPF / f"zarr{form}.zip"), like, (60, 1500), stripe="b")
    first, second = (ancillary.read(str(path), (60, 1500)) for path in (sen3, zarr))
    for name in ("latitude", "longitude", "solar_zenith", "summary"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in ("confidence", "cloud"):
        np.testing.assert_array_equal(getattr(first, name).values, getattr(second, name).values)
    assert Product(str(zarr)).baseline() == 4


def test_without_a_bayesian_mask_it_is_masked_and_learned_from_other_labels(tmp_path):
    needs_zarr(2)
    path = str(to_zarr(product(tmp_path), tmp_path, 2))
    assert read_scene(path, SETTINGS).cloud is None
    with pytest.raises(UserError, match=r"\.zarr: has no labels for data\.labels: bayes"):
        read_patches(path, SETTINGS)
    summary = SETTINGS.model_copy(update={"labels": "summary"})
    np.testing.assert_array_equal(read_scene(path, summary).cloud, frame().bayes > 0)
    assert read_patches(path, summary)[0].shape == (6, PATCH, PATCH, 9)


def test_an_archive_of_a_zarr_product(tmp_path):
    needs_zarr(3)
    sen3 = product(tmp_path)
    same_scene(str(sen3), str(zipped(to_zarr(sen3, tmp_path, 3), tmp_path / "S03SLSRBT_1.zip")), "physical")


@pytest.mark.parametrize("form", [2, 3])
def test_without_offsets_the_grids_cannot_be_placed(tmp_path, form):
    needs_zarr(form)
    path = to_zarr(product(tmp_path), tmp_path, form)
    root = path / (".zattrs" if form == 2 else "zarr.json")
    root.write_text(root.read_text().replace("proj:shape", "proj:other"))
    with pytest.raises(UserError, match=r"has no usable resolution, track_offset and start_offset"):
        convert(str(path), "dataset", SHAPE)


def test_flags_may_lack_chunks_of_zeros_and_measurements_may_not(tmp_path):
    """Zarr leaves chunks out that are all 0: of flags that is clear, of counts nobody's measurement."""
    needs_zarr(3)
    path = to_zarr(product(tmp_path), tmp_path, 3)
    (path / "quality/inadir/confidence_in/c/0/1").unlink()
    summary = convert(str(path), "physical", SHAPE).summary[..., 0]
    np.testing.assert_array_equal(summary[:, : WIDTH // 2] > 0, frame().bayes[:, : WIDTH // 2] > 0)
    assert not summary[:, WIDTH // 2 :].any()
    (path / RADIANCE / "c/0/1").unlink()
    with pytest.raises(UserError, match=r"s1_radiance_an/c/0/1 is missing: the product is not whole"):
        convert(str(path), "physical", SHAPE)


def test_no_package_zarr_and_one_that_is_too_old_are_one_line(tmp_path, monkeypatch):
    path = str(to_zarr(product(tmp_path), tmp_path, 3))
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(UserError, match=r"s7_bt_in: products in Zarr are read by the package zarr, which is not"):
        convert(path, "dataset", SHAPE)
    monkeypatch.setitem(sys.modules, "zarr", type(sys)("zarr"))
    monkeypatch.setattr(sys.modules["zarr"], "__version__", "2.18.3", raising=False)
    with pytest.raises(UserError, match=r"is in Zarr format 3, which zarr 2\.18\.3 cannot read: zarr 3 can"):
        convert(path, "dataset", SHAPE)


def described(form: int, **changes):
    """Change the description of S8's array."""

    def work(path: Path) -> None:
        file = path / KELVIN / (".zarray" if form == 2 else "zarr.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return form, work


def written(form: int, file: str, content: bytes):
    return form, lambda path: (path / KELVIN / file).write_bytes(content)


def linked(form: int, file: str):
    def work(path: Path) -> None:
        outside = path.parent / "outside"
        (path / KELVIN / file).rename(outside)
        (path / KELVIN / file).symlink_to(outside)

    return form, work


def grid(*chunks):
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}}


HALF = HEIGHT * WIDTH // 2 * 2  # bytes of a chunk
BOMB = b"\2\1\1\2" + (2**31 - 1).to_bytes(4, "little") + bytes(4) + (16).to_bytes(4, "little")
FRAME = b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little") + bytes(8)
CODECS = [{"name": "bytes"}, {"name": "zstd"}]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (described(2, filters=[{"id": "pickle"}]), r"s8_bt_in: its description is not .* filters"),
        (described(2, compressor={"id": "pickle"}), r"codec pickle, where zstd or blosc is expected"),
        (described(2, dtype="|O"), r"type \|O, where plain numbers are expected"),
        (described(2, dtype=[["a", "<i2"]]), r"its description is not that of"),
        (described(2, shape=[2**40, 2**40], chunks=[1, 1]), r"too large for a product"),
        (described(2, chunks=[2**20, 2**20]), r"too large for a product"),
        (described(2, shape=[2**13, 2**13], chunks=[1, 1]), r"has 67108864 chunks, 10000 at most expected"),
        (described(2, shape=[-1, 104]), r"is empty \(shape \(-1, 104\)\)"),
        (described(2, shape=[], chunks=[]), r"is empty"),
        (described(2, chunks=[72]), r"its description is not that of .*chunks of 1 axes for 2"),
        (described(2, dimension_separator="/../"), r"separator '/\.\./'"),
        (described(2, shape="abc"), r"its description is not that of"),
        (described(3, codecs=[{"name": "pickle"}]), r"codecs \['pickle'\], where bytes"),
        (described(3, codecs=[{"name": "bytes"}, {"name": "sharding_indexed"}]), r"codecs .*sharding_indexed"),
        (described(3, storage_transformers=[{"name": "x"}]), r"no plain array of format 3"),
        (described(3, **grid(0, 1)), r"is empty"),
        (described(3, **grid(2**31, 2**31)), r"too large for a product"),
        (described(3, data_type="complex128"), r"type complex128"),
        (described(3, chunk_key_encoding={"name": "../x"}), r"keys \.\./x"),
        (written(3, "zarr.json", b"[" * 100_000), r"zarr\.json: is not JSON"),
        (written(3, "zarr.json", b"\xff"), r"zarr\.json: is not JSON"),
        (written(3, "c/0/0", b"x" * (HALF - 1)), r"s8_bt_in/c/0/0 unpacks to \d+ bytes, \d+ expected"),
        (written(3, "c/0/0", b"x" * (3 * HALF + 4096)), r"c/0/0: has \d+ bytes, \d+ at most expected"),
        (linked(3, "c/0/0"), r"s8_bt_in/c/0/0: leads out of the product, to .*: refused"),
        (linked(2, "0.1"), r"s8_bt_in/0\.1: leads out of the product"),
        (linked(2, ".zarray"), r"s8_bt_in/\.zarray: leads out of the product"),
    ],
)
def test_a_hostile_product_is_refused_before_zarr_sees_it(tmp_path, monkeypatch, damage, message):
    form, work = damage
    path = to_zarr(product(tmp_path), tmp_path, form)
    work(path)
    monkeypatch.setitem(sys.modules, "zarr", None)  # were it asked, the message would be another
    with pytest.raises(UserError, match=message) as caught:
        Product(str(path)).variable("S8_BT")
    assert ZARR_NAME in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("packing", "chunk", "size"),
    [
        ("blosc", BOMB, 2**31 - 1),
        ("blosc", BOMB + b"x", -1),  # compressed size is not the chunk's
        ("blosc", b"", -1),
        ("zstd", FRAME, 2**40),
        ("zstd", b"\x28\xb5\x2f\xfd\x60" + (56).to_bytes(2, "little") + bytes(8), 312),  # two bytes count from 256 on
        ("zstd", b"\x28\xb5\x2f\xfd\x20\x07" + bytes(8), 7),
        ("zstd", b"\x28\xb5\x2f\xfd\x00\x07" + bytes(8), -1),  # does not say
        ("zstd", b"x" * 20, -1),
    ],
)
def test_a_chunk_s_own_word_on_its_size_is_read_before_it_is_unpacked(packing, chunk, size):
    assert {"blosc": eopf.blosc_size, "zstd": eopf.zstd_size}[packing](chunk) == size


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_791, 65_792, 100_000])
@pytest.mark.parametrize("packing", ["zstd", "blosc"])
def test_the_sizes_that_real_packers_write_are_understood(packing, size):
    numcodecs = pytest.importorskip("numcodecs", reason="numcodecs, which comes with zarr, is not installed")
    pack = {"zstd": numcodecs.Zstd, "blosc": numcodecs.Blosc}[packing]()
    for content in (bytes(size), np.random.default_rng(1).bytes(size)):
        assert {"blosc": eopf.blosc_size, "zstd": eopf.zstd_size}[packing](bytes(pack.encode(content))) == size


def test_damaged_chunks_are_named(tmp_path):
    needs_zarr(3)
    path = to_zarr(product(tmp_path), tmp_path, 3, "zstd")
    chunk = path / KELVIN / "c/0/0"
    content = bytearray(chunk.read_bytes())
    content[60:120] = bytes(60)
    chunk.write_bytes(content)
    with pytest.raises(UserError, match=r"s8_bt_in cannot be unpacked .*: it is damaged; copy it again") as caught:
        Product(str(path)).variable("S8_BT")
    assert "\n" not in str(caught.value)


def test_its_name_tells_platform_and_start():
    from cloudmask.sen3.names import acquisition

    assert acquisition(f"/x/{ZARR_NAME}") == acquisition(f"/y/{NAME}") == ("B", "20200101T101500")

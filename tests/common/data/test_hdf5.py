"""Reading by offset and through h5py give the same; writing never leaves half a file."""

import zlib

import h5py
import numpy as np
import pytest

from common.data import chunked, hdf5, new_file
from common.errors import UserError
from tests.helpers import write_hdf

VALUES = np.arange(7 * 5 * 3, dtype=np.float32).reshape(7, 5, 3)


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 5, 3)}, {"chunks": (3, 2, 3), "compression": "gzip"}])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_rows_are_the_same_however_they_are_stored(tmp_path, options, dtype):
    path = write_hdf(tmp_path / "a.h5", {"x": VALUES.astype(dtype)}, **options)
    with hdf5.open_file(path) as file:
        dataset = file.dataset("x", "f")
        assert (dataset.shape, dataset.dtype) == ((7, 5, 3), np.dtype(dtype[1:]))
        np.testing.assert_array_equal(dataset.read(), VALUES)
        np.testing.assert_array_equal(dataset.read_rows(2, np.empty((4, 5, 3), dataset.dtype)), VALUES[2:6])


def test_a_missing_dataset_names_what_is_there(tmp_path):
    path = write_hdf(tmp_path / "a.h5", {"refs": VALUES, "other": VALUES})
    with (
        hdf5.open_file(path) as file,
        pytest.raises(UserError, match=r"dataset 'bts' is missing \(the file contains: other, refs\)"),
    ):
        file.dataset("bts", "f")


def test_a_wrong_type_is_named(tmp_path):
    path = write_hdf(tmp_path / "a.h5", {"x": VALUES.astype(np.int16)})
    with hdf5.open_file(path) as file, pytest.raises(UserError, match="'x' holds int16, but floating point is needed"):
        file.dataset("x", "f")


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all" * 100])
def test_no_hdf5_file_is_one_line(tmp_path, content):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as HDF5"), hdf5.open_file(path):
        pass


def test_a_truncated_file_is_an_error_not_zeros(tmp_path):
    path = write_hdf(tmp_path / "a.h5", {"x": np.ones((100, 100), np.float32)})
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"a\.h5.*(truncated|cannot be read)"), hdf5.open_file(path) as file:
        file.dataset("x", "f").read()


def test_writing_over_a_file_is_refused_and_leaves_it(tmp_path):
    path = write_hdf(tmp_path / "a.h5", {"x": VALUES})
    before = path.read_bytes()
    with pytest.raises(UserError, match="exists already"), new_file.write_file(path):
        pass
    assert path.read_bytes() == before


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), new_file.write_file(tmp_path / "a.h5") as file:
        file["x"] = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be written"), new_file.write_file(tmp_path / "none" / "a.h5"):
        pass


def external_link(file: h5py.File, folder) -> None:
    write_hdf(folder / "other.h5", {"x": np.ones(9, np.float32)})
    file["x"] = h5py.ExternalLink("other.h5", "/x")


def soft_link_loop(file: h5py.File, folder) -> None:
    file["x"] = h5py.SoftLink("/y")
    file["y"] = h5py.SoftLink("/x")


def soft_link_through_another_file(file: h5py.File, folder) -> None:
    write_hdf(folder / "other.h5", {"g/x": np.ones(9, np.float32)})
    file["g"] = h5py.ExternalLink("other.h5", "/g")
    file["x"] = h5py.SoftLink("/g/x")


def virtual(file: h5py.File, folder) -> None:
    layout = h5py.VirtualLayout((9,), np.float32)
    layout[:] = h5py.VirtualSource(str(folder / "gone.h5"), "x", (9,))
    file.create_virtual_dataset("x", layout)


def external_storage(file: h5py.File, folder) -> None:
    (folder / "raw").write_bytes(bytes(36))
    file.create_dataset("x", (9,), np.float32, external=[(str(folder / "raw"), 0, 36)])


def null(file: h5py.File, folder) -> None:
    file["x"] = h5py.Empty(np.float32)


def no_elements(file: h5py.File, folder) -> None:
    file.create_dataset("x", (0, 5), np.float32)


def never_written(file: h5py.File, folder) -> None:
    file.create_dataset("x", (9,), np.float32)


def absurdly_large(file: h5py.File, folder) -> None:
    file.create_dataset("x", (10**6, 10**6), np.float32, chunks=(1000, 1000))


def group(file: h5py.File, folder) -> None:
    file.create_group("x")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (external_link, "is a link into another file"),
        (soft_link_through_another_file, "is in another file"),
        (soft_link_loop, "too many links|is missing"),
        (virtual, "keeps its values in other files"),
        (external_storage, "keeps its values in other files"),
        (null, "is empty"),
        (no_elements, "is empty"),
        (never_written, "was never written"),
        (absurdly_large, "too large for a sample"),
        (group, "is missing"),
    ],
)
def test_a_dataset_without_values_of_its_own_is_refused_never_read_wrongly(tmp_path, make, message):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file, tmp_path)
    with hdf5.open_file(tmp_path / "a.h5") as file, pytest.raises(UserError, match=f"dataset 'x' .*({message})"):
        file.dataset("x", "f").read()


@pytest.fixture(params=["zlib", "isal.isal_zlib"])
def inflate(request, monkeypatch):
    """Unpacks by Python's zlib, and by isal where it is installed."""
    module = pytest.importorskip(request.param, reason="the package isal, which unpacks faster, is not installed")
    monkeypatch.setattr(chunked, "_inflate", module)


@pytest.mark.usefixtures("inflate")
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f8", ">i2"])
def test_chunks_that_zlib_packed_are_the_library_s(tmp_path, kind, shuffle):
    values = np.random.default_rng(1).integers(-30000, 30000, (50, 70)).astype(kind)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for chunks in ((50, 70), (20, 30), (1, 70)):
            file.create_dataset(f"{chunks}", data=values, chunks=chunks, compression="gzip", shuffle=shuffle)
        file.create_dataset("part", (50, 70), kind, chunks=(20, 30), compression="gzip")[:20] = values[:20]
        file.create_dataset("other", data=values, chunks=(20, 30), compression="lzf", shuffle=shuffle)
    with hdf5.open_file(tmp_path / "x.h5") as file:
        for name in ("(50, 70)", "(20, 30)", "(1, 70)", "other"):
            found = file.dataset(name, "fiu").read()
            np.testing.assert_array_equal(found, values)
            assert found.dtype == values.dtype.newbyteorder("=")
        np.testing.assert_array_equal(file.dataset("part", "fiu").read()[20:], 0)  # chunks never written


@pytest.mark.usefixtures("inflate")
@pytest.mark.parametrize("damage", [b"\0" * 40, b""])
def test_a_damaged_chunk_is_named(tmp_path, damage):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=np.arange(5000), chunks=(5000,), compression="gzip")
        chunk = dataset.id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 50 : chunk.byte_offset + 50 + len(damage)] = damage
    path.write_bytes(content if damage else content[: chunk.byte_offset + 50])
    with (
        pytest.raises(UserError, match=r"x\.h5: (dataset 'x' cannot be read|cannot be read as HDF5)"),
        hdf5.open_file(path) as file,
    ):
        file.dataset("x", "iu").read()


@pytest.mark.usefixtures("inflate")
def test_a_chunk_that_unpacks_to_more_than_it_may_is_refused(tmp_path):
    chunks = chunked.Chunks((10,), False, [])
    for content in (bytes(79), bytes(81), bytes(10**6)):
        with pytest.raises(ValueError, match="does not unpack to 80 bytes"):
            chunked.unpack(np.frombuffer(zlib.compress(content), np.uint8), np.dtype("i8"), chunks)
    torn = zlib.compress(np.random.default_rng(1).bytes(80))[:-6] + bytes(6)
    with pytest.raises(ValueError, match=r"Error -[36]|does not unpack"):
        chunked.unpack(np.frombuffer(torn, np.uint8), np.dtype("i8"), chunks)
    fitting = np.frombuffer(zlib.compress(bytes(80)), np.uint8)
    assert chunked.unpack(fitting, np.dtype("i8"), chunks).tolist() == [0] * 10

"""Reading by offset and through h5py give the same; writing never leaves half a file."""

import numpy as np
import pytest

from common.data import hdf5
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


def test_a_dataset_that_was_never_written_reads_as_zeros(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (4, 2), np.float32)
    with hdf5.open_file(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file.dataset("x", "f").read(), np.zeros((4, 2)))


def test_a_missing_dataset_names_what_is_there(tmp_path):
    path = write_hdf(tmp_path / "a.h5", {"refs": VALUES, "other": VALUES})
    with (
        hdf5.open_file(path) as file,
        pytest.raises(UserError, match=r"dataset 'bts' is missing \(the file holds: other, refs\)"),
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
    with pytest.raises(UserError, match="exists already"), hdf5.write_file(path):
        pass
    assert path.read_bytes() == before


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), hdf5.write_file(tmp_path / "a.h5") as file:
        file["x"] = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be written"), hdf5.write_file(tmp_path / "none" / "a.h5"):
        pass

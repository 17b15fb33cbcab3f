"""Arrays of .npy files by place: NumPy's own files, other writers', what is refused, and threads."""

import ast
import io

import numpy as np
import pytest

from common.data import npy
from common.data.cache import DiskCache
from common.data.files import list_files
from common.errors import UserError


def header(text: str) -> bytes:
    """A version 1.0 header, as numpy.lib.format's documentation describes it."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("array", [np.arange(24, dtype="<f4").reshape(2, 3, 4), np.arange(5, dtype=np.uint8)])
def test_rows_of_what_numpy_writes(tmp_path, array, version):
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, array, version)
    with npy.open_array(tmp_path / "x.npy") as read:
        assert (read.shape, read.dtype) == (array.shape, array.dtype)
        rows = read.read_rows(1, np.empty_like(array[1:]))
        whole = read.map()
    np.testing.assert_array_equal(rows, array[1:])
    np.testing.assert_array_equal(whole, array)
    assert not whole.flags.writeable


@pytest.mark.parametrize("shape", ["(3,)", "(3,  )", "(1, 3)", "( 1, 3, )"])
def test_other_writers_headers(tmp_path, shape):
    text = f'{{"fortran_order": False, "shape": {shape}, "descr": "<i2"}}\n'
    (tmp_path / "x.npy").write_bytes(header(text) + np.array([7, 8, 9], "<i2").tobytes())
    with npy.open_array(tmp_path / "x.npy") as read:
        assert read.shape == ast.literal_eval(shape)
        np.testing.assert_array_equal(read.map().reshape(-1), [7, 8, 9])


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x\.npy: cannot be read as a \.npy file"),
        (b"\x89HDF\r\n\x1a\n", r"x\.npy: cannot be read as a \.npy file"),
        (saved(np.zeros(3))[:40], "its header has no type"),
        (
            header("{'descr': 'q7x', 'fortran_order': False, 'shape': (3,), }"),
            r"x\.npy: cannot be read as a \.npy file",
        ),
        (saved(np.zeros(3, [("a", "f4")])), "its header has no type"),
        (saved(np.array([{}])), "plain native numbers"),
        (saved(np.zeros(3, ">f4")), "plain native numbers"),
        (saved(np.asfortranarray(np.zeros((2, 3)))), "C-ordered"),
    ],
)
def test_refused(tmp_path, content, message):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(UserError, match=message), npy.open_array(tmp_path / "x.npy"):
        pass


def test_reading_threads_keep_out_of_pythons_compiler(tmp_path, monkeypatch):
    """Python 3.11.0 to 3.11.7 dies with a SystemError where two threads compile: TensorFlow's tracing is one."""
    np.save(tmp_path / "x.npy", np.arange(6.0))
    (file,) = list_files(str(tmp_path), "x.npy")
    cache = DiskCache(str(tmp_path), "")
    cache.store(file, (np.arange(3),))

    def compiled(*arguments, **options):
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr(ast, "parse", compiled)
    with pytest.raises(SystemError):
        np.load(tmp_path / "x.npy")  # what was used: this test can fail
    with npy.open_array(tmp_path / "x.npy") as read:
        assert read.read_rows(4, np.empty(2)).tolist() == [4, 5]
    (kept,) = cache.load(file)
    assert kept.tolist() == [0, 1, 2]

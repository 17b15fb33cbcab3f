"""Reading of arrays from .npy files by offset, as common.data.hdf5 reads HDF5 files, without additional copies.

numpy.load is not used: it parses the header with Python's own compiler, which in Python 3.11 up to 3.11.7 fails with
"AST constructor recursion depth mismatch" if two threads use it at once, as a reading thread and TensorFlow's tracing
do (python/cpython, issue 106905).
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Union

import numpy as np

from common.data.hdf5 import read_at
from common.errors import UserError

_TYPE = re.compile(rb"""['"]descr['"]: *['"]([^'"]+)['"]""")
_ORDER = re.compile(rb"""['"]fortran_order['"]: *(True|False)""")
_SHAPE = re.compile(rb"""['"]shape['"]: *\(([\d, ]*)\)""")


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, Fortran order and type, and leave the file at the array's first byte.

    Format: documentation of numpy.lib.format.

    Raises:
        ValueError: if it is not a header, or not one of an array of plain elements.
    """
    version = np.lib.format.read_magic(file)
    size = 2 if version == (1, 0) else 4
    text = file.read(int.from_bytes(file.read(size), "little"))
    kind, order, shape = _TYPE.search(text), _ORDER.search(text), _SHAPE.search(text)
    if not (kind and order and shape):
        raise ValueError("its header has no type, order and shape of plain elements")
    try:
        dtype = np.dtype(kind[1].decode())
    except TypeError as error:
        raise ValueError(str(error)) from error
    return tuple(int(size) for size in shape[1].split(b",") if size.strip()), order[1] == b"True", dtype


class Array:
    """The array of an open .npy file: its shape, its type, and its rows on request."""

    contiguous = True

    def __init__(self, file: BinaryIO, where: str):
        self.shape, fortran, self.dtype = _header(file)
        if fortran or self.dtype.hasobject or not self.dtype.isnative:
            raise UserError(f"{where}: is not a C-ordered array of plain native numbers; write it again with `convert`")
        self.where, self._file, self._offset = where, file, file.tell()

    def map(self) -> np.ndarray:
        """Map the whole array into memory, read-only; it outlives the file object.

        Raises:
            ValueError: if the file is too short.
        """
        return np.memmap(self._file, self.dtype, "r", self._offset, self.shape)

    def read_rows(self, first: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` ([rows, ...], C order, the array's type) with rows from number `first` on; return it."""
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        return read_at(self._file.fileno(), self._offset + first * row_bytes, out, self.where)


@contextlib.contextmanager
def open_array(path: Union[str, Path]) -> Iterator[Array]:
    """Open a .npy file for reading. Raises UserError if it is missing or not a .npy file."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; errors of the caller's block are not caught here
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from error
    with file:
        try:
            array = Array(file, str(path))
        except ValueError as error:
            raise UserError(f"{path}: cannot be read as a .npy file ({error})") from error
        yield array

"""Arrays out of .npy files by place, as common.data.hdf5 reads HDF5 files: no copy but the one asked for."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Union

import numpy as np

from common.data.hdf5 import read_at
from common.errors import UserError


class Array:
    """The array of an open .npy file: shape, type, and rows of it on request."""

    contiguous = True

    def __init__(self, file, where: str):
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, fortran, self.dtype = header(file)
        if fortran or self.dtype.hasobject or not self.dtype.isnative:
            raise UserError(f"{where}: is not a C-ordered array of plain native numbers; write it anew with `convert`")
        self.where, self._file, self._offset = where, file, file.tell()

    def read_rows(self, first: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` ([rows, ...], C order, the array's type) with the rows from `first` on."""
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        return read_at(self._file.fileno(), self._offset + first * row_bytes, out, self.where)


@contextlib.contextmanager
def open_array(path: Union[str, Path]) -> Iterator[Array]:
    """Raises UserError if the file is missing or no .npy file."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; what the caller does inside is not to be caught here
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from error
    with file:
        try:
            array = Array(file, str(path))
        except ValueError as error:
            raise UserError(f"{path}: cannot be read as a .npy file ({error})") from error
        yield array

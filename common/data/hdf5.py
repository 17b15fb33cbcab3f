"""Arrays out of HDF5 files, fast, with errors that name the file and the dataset.

A dataset that lies in the file as one uncompressed block (what h5py writes by default, and what both benchmarks' data
are) is read at its offset with plain system calls: those run in parallel, where the HDF5 library lets one thread in at
a time. Chunks that were packed by zlib are unpacked outside the library for the same reason; all else goes through
h5py. All paths give the same values (a test).
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional, Protocol, Union

import h5py
import numpy as np
import psutil

from common.data import chunked
from common.errors import UserError, storage_problem


def read_at(descriptor: int, position: int, out: np.ndarray, where: str) -> np.ndarray:
    """Fill `out` (C order) with a file's bytes from `position` on. Raises UserError, naming `where`, if it ends."""
    view, done = memoryview(out.reshape(-1).view(np.uint8).data), 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], position + done)
        if count == 0:
            raise UserError(f"{where} ends after {done} of {len(view)} bytes: the file is truncated; copy it again")
        done += count
    return out


class Rows(Protocol):
    """An array in a file, rows of which are read on request: a Dataset here, or one of another format."""

    where: str  # for messages
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def contiguous(self) -> bool:
        """Whether rows are read straight from their place in the file."""
        ...

    def read_rows(self, first: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` ([rows, ...], C order, the array's type) with the rows from `first` on."""
        ...


# What h5py raises for files whose bytes are not what they should be.
_DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


@contextlib.contextmanager
def _damage_named(where: str) -> Iterator[None]:
    """Whatever h5py makes of a damaged file becomes a UserError that says where."""
    try:
        yield
    except _DAMAGED as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{where} cannot be read ({said}): the file is damaged; copy it again") from error


_KINDS = {"f": "floating point", "iu": "integer"}
MOST_BYTES = psutil.virtual_memory().total // 2  # of one dataset


def _own_dataset(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    """The dataset, reached inside this file alone. Raises UserError.

    An external link would lead into another file, whose offsets mean nothing in ours; a soft link may run in a circle.
    """
    parts = name.split("/")
    for depth in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:depth]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise UserError(f"{where} is a link into another file ({link.filename}): refused; copy the data in")
    item = file.get(name)
    if not isinstance(item, h5py.Dataset):
        present = ", ".join(sorted(str(key) for key in file)) or "nothing"
        raise UserError(f"{where} is missing (the file holds: {present})")
    if item.file.filename != file.filename:
        raise UserError(f"{where} lies in another file ({item.file.filename}): refused; copy the data in")
    return item


def _check_storage(item: h5py.Dataset, where: str) -> None:
    """Raises UserError for a dataset without values of its own in this file, or too large to be one of ours."""
    if item.shape is None or item.size == 0:
        raise UserError(f"{where} is empty (shape {item.shape})")
    if item.is_virtual or item.external:
        raise UserError(f"{where} keeps its values in other files (virtual or external storage): refused; copy them in")
    if item.nbytes > MOST_BYTES:
        raise UserError(f"{where} has shape {item.shape}, {item.nbytes / 2**30:.0f} GiB: too large for a sample")
    if item.id.get_storage_size() == 0:
        raise UserError(f"{where} was never written: it has a shape, {item.shape}, but no values")


def _plain(attributes: h5py.AttributeManager) -> dict:
    result = {}
    for name, value in attributes.items():
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        result[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return result


class ArrayRows:
    """An array in memory as `Rows`."""

    def __init__(self, where: str, array: np.ndarray):
        self.where, self.array = where, array
        self.shape, self.dtype = array.shape, array.dtype

    @property
    def contiguous(self) -> bool:
        return True

    def read_rows(self, first: int, out: np.ndarray) -> np.ndarray:
        out[...] = self.array[first : first + len(out)]
        return out


class Dataset:
    """One dataset of an open file: its shape, its type, and rows of it on request.

    `kind` is NumPy's: "f" for floating point, "iu" for integers, "fiu" for both.
    """

    def __init__(self, file: h5py.File, path: Path, name: str, kind: str):
        self.where = where = f"{path}: dataset '{name}'"
        with _damage_named(where):
            item = _own_dataset(file, name, where)
            _check_storage(item, where)
            if item.dtype.kind not in kind:
                needed = " or ".join(title for letters, title in _KINDS.items() if set(letters) & set(kind))
                raise UserError(f"{where} holds {item.dtype}, but {needed} is needed")
            self.shape, self.dtype = item.shape, item.dtype.newbyteorder("=")
            self._item = item
            # None for a chunked or compressed dataset, and for a file in memory.
            in_a_file = file.driver != "core"
            self._offset: Optional[int] = item.id.get_offset() if item.dtype.isnative and in_a_file else None
            self._descriptor = file.id.get_vfd_handle() if self._offset is not None else -1

    @property
    def contiguous(self) -> bool:
        """Whether rows are read straight from their place in the file."""
        return self._offset is not None

    def read_rows(self, first: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` ([rows, ...], C order, the dataset's type) with the rows from `first` on."""
        if self._offset is None:
            with _damage_named(self.where):
                self._item.read_direct(out, np.s_[first : first + len(out)])
            return out
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        return read_at(self._descriptor, self._offset + first * row_bytes, out, self.where)

    def attributes(self) -> dict:
        """As of `Reader.attributes`."""
        with _damage_named(self.where):
            return _plain(self._item.attrs)

    def read(self) -> np.ndarray:
        """The whole dataset as a new array."""
        values = np.empty(self.shape, self.dtype)
        with _damage_named(self.where):
            chunks = chunked.packed_by_zlib(self._item)
        if chunks is None:
            return self.read_rows(0, values)
        descriptor = self._item.file.id.get_vfd_handle()
        for chunk in chunks.chunks:
            packed = read_at(descriptor, chunk.offset, np.empty(chunk.size, np.uint8), self.where)
            with _damage_named(self.where):
                whole = chunked.unpack(packed, self.dtype, chunks)
                values[chunk.part] = whole[tuple(slice(0, length) for length in values[chunk.part].shape)]
        return values


class Reader:
    """An open file, from which datasets are taken by name."""

    def __init__(self, file: h5py.File, path: Path):
        self._file, self._path = file, path

    def dataset(self, name: str, kind: str) -> Dataset:
        """The dataset `name`, whose values must be of this `kind` ("f", "iu"); UserError if not."""
        return Dataset(self._file, self._path, name, kind)

    def attributes(self) -> dict:
        """The file's own. Single values as such (the netCDF library writes arrays of one), bytes as text."""
        with _damage_named(str(self._path)):
            return _plain(self._file.attrs)

    def has(self, name: str) -> bool:
        with _damage_named(f"{self._path}: '{name}'"):
            return name in self._file


@contextlib.contextmanager
def open_file(path: Union[str, Path]) -> Iterator[Reader]:
    """Open an HDF5 file for reading. Raises UserError if it is missing, truncated or no HDF5 file."""
    path = Path(path)
    try:
        # No file lock: parallel file systems often have none, and nothing here writes into its input.
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; did it vanish during the run?") from None
    except _DAMAGED as error:
        size = path.stat().st_size if path.exists() else 0
        reason = str(error).split("(")[-1].rstrip(")")
        raise UserError(f"{path}: cannot be read as HDF5 ({reason}; {size} bytes): copy it again") from error
    with file:
        yield Reader(file, path)


@contextlib.contextmanager
def open_bytes(content: bytes, where: str) -> Iterator[Reader]:
    """The same of a file's content, such as that of a member of an archive. where: its name for messages."""
    try:
        file = h5py.File.in_memory(content)
    except _DAMAGED as error:
        raise UserError(f"{where}: cannot be read as HDF5 ({error}; {len(content)} bytes): copy it again") from error
    with file:
        yield Reader(file, Path(where))


@contextlib.contextmanager
def write_file(path: Union[str, Path], opener: Callable[[Path, str], Any] = h5py.File) -> Iterator[Any]:
    """Write a new HDF5 file under a temporary name; it takes its own name only when complete.

    opener: makes the file object that the block gets, from a path and a mode. Raises UserError if a file of that name
    exists, or the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if path.exists():
        raise UserError(f"{path}: exists already and is left as it is; choose another folder")
    try:
        with opener(temporary, "w") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({storage_problem(error, path.parent)})") from error
    finally:
        temporary.unlink(missing_ok=True)

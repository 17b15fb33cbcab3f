"""Fast reading of arrays from HDF5 files, with errors that name the file and the dataset.

A dataset that is one uncompressed block in the file (as h5py writes by default, and as both benchmarks' data are) is
read at its offset by system calls, which run in parallel; the HDF5 library admits one thread at a time. Chunks that
zlib compressed are decompressed outside the library for the same reason. Everything else is read by h5py. A test
compares the three.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Protocol, Union

import h5py
import numpy as np
import psutil

from common.data import chunked
from common.errors import UserError


def read_at(descriptor: int, position: int, out: np.ndarray, where: str) -> np.ndarray:
    """Fill an array with bytes of an open file.

    Args:
        descriptor: the file's descriptor.
        position: offset of the first byte.
        out: C-ordered array to fill.
        where: name of the data, with which messages begin.

    Raises:
        UserError: if the file ends before the array is full.
    """
    view, done = memoryview(out.reshape(-1).view(np.uint8).data), 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], position + done)
        if count == 0:
            raise UserError(f"{where} ends after {done} of {len(view)} bytes: the file is truncated; copy it again")
        done += count
    return out


class Rows(Protocol):
    """An array in a file whose rows are read on request: a Dataset, or the like in another format."""

    where: str  # for messages
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def contiguous(self) -> bool:
        """Whether rows are read directly at their offset in the file."""
        ...

    def read_rows(self, first: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` ([rows, ...], C order, the array's type) with rows from number `first` on; return it."""
        ...


# The exceptions that h5py raises for damaged files.
_DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


@contextlib.contextmanager
def _damage_named(where: str) -> Iterator[None]:
    """Turn h5py's exceptions for damaged files into a UserError that begins with `where`."""
    try:
        yield
    except _DAMAGED as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{where} cannot be read ({cause}): the file is damaged; copy it again") from error


_KINDS = {"f": "floating point", "iu": "integer"}
_MOST_NAMES = 1000  # of a file's datasets
MOST_BYTES = psutil.virtual_memory().total // 2  # of one dataset


def _own_dataset(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    """Return a dataset that is stored in this file itself.

    An external link leads into another file, where this file's offsets mean nothing; soft links may form a cycle.

    Raises:
        UserError: if the dataset is missing or in another file.
    """
    parts = name.split("/")
    for depth in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:depth]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise UserError(
                f"{where} is a link into another file ({link.filename}): refused; copy the data into this file"
            )
    item = file.get(name)
    if not isinstance(item, h5py.Dataset):
        raise UserError(f"{where} is missing ({_present(file, parts)})")
    if item.file.filename != file.filename:
        raise UserError(f"{where} is in another file ({item.file.filename}): refused; copy the data into this file")
    return item


def _present(file: h5py.File, parts: list[str]) -> str:
    """What the innermost group on the way to a missing dataset contains."""
    group, title = file, "the file"
    for depth in range(1, len(parts)):
        inner = file.get("/".join(parts[:depth]))
        if not isinstance(inner, h5py.Group):
            break
        group, title = inner, f"'{'/'.join(parts[:depth])}'"
    names = list(itertools.islice(group, 20))
    return f"{title} contains: {', '.join(sorted(names)) or 'nothing'}"


def _check_storage(item: h5py.Dataset, where: str) -> None:
    """Raise UserError for a dataset without values in this file, or larger than any sample."""
    if item.shape is None or item.size == 0:
        raise UserError(f"{where} is empty (shape {item.shape})")
    if item.is_virtual or item.external:
        raise UserError(
            f"{where} keeps its values in other files (virtual or external storage): refused; copy them into this file"
        )
    if item.nbytes > MOST_BYTES:
        raise UserError(f"{where} has shape {item.shape}, {item.nbytes / 2**30:.0f} GiB: too large for a sample")
    if item.id.get_storage_size() == 0:
        raise UserError(f"{where} was never written: it has a shape, {item.shape}, but no values")


def _plain(attributes: h5py.AttributeManager) -> dict:
    """Return attributes with arrays of one element as that element, and bytes as text."""
    result = {}
    for name, value in attributes.items():
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        result[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return result


class ArrayRows:
    """An array in memory, as `Rows`."""

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
    """A dataset of an open file: its shape, its type, and its rows on request."""

    def __init__(self, file: h5py.File, path: Path, name: str, kind: str):
        """Find the dataset and check it.

        Args:
            file: the file that contains it.
            path: the file's path, for messages.
            name: the dataset's name.
            kind: kinds of values allowed, in NumPy's letters: "f" for floating point, "iu" for integers, "fiu" for any.

        Raises:
            UserError: if it is missing, in another file, empty, too large or of another kind.
        """
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
        """Whether rows are read directly at their offset in the file."""
        return self._offset is not None

    def read_rows(self, first: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` ([rows, ...], C order, the dataset's type) with rows from number `first` on; return it."""
        if self._offset is None:
            with _damage_named(self.where):
                self._item.read_direct(out, np.s_[first : first + len(out)])
            return out
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        return read_at(self._descriptor, self._offset + first * row_bytes, out, self.where)

    def attributes(self) -> dict:
        """Return the dataset's attributes, in the form of `Reader.attributes`."""
        with _damage_named(self.where):
            return _plain(self._item.attrs)

    def read(self) -> np.ndarray:
        """Read the whole dataset into a new array."""
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
                if whole.shape == self.shape and whole.flags.writeable:  # the only chunk
                    return whole
                values[chunk.part] = whole[tuple(slice(0, length) for length in values[chunk.part].shape)]
        return values


class Reader:
    """An open file, whose datasets are opened by name."""

    def __init__(self, file: h5py.File, path: Path):
        self._file, self._path = file, path

    @property
    def path(self) -> Path:
        """The file's path, for messages."""
        return self._path

    def dataset(self, name: str, kind: str) -> Dataset:
        """Open the dataset `name`, whose values must be of this kind, as `Dataset` takes it. Raises UserError."""
        return Dataset(self._file, self._path, name, kind)

    def attributes(self) -> dict:
        """Return the file's attributes: arrays of one element, as the netCDF library writes, as that element, and
        bytes as text."""
        with _damage_named(str(self._path)):
            return _plain(self._file.attrs)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the datasets that lie directly in the file, by name."""
        with _damage_named(str(self._path)):
            items = ((name, self._file.get(name, getclass=True)) for name in itertools.islice(self._file, _MOST_NAMES))
            found = ((name, self._file[name].shape) for name, kind in items if kind is h5py.Dataset)
            return {name: shape for name, shape in found if shape is not None}

    def has(self, name: str) -> bool:
        """Whether the file has an object of this name."""
        with _damage_named(f"{self._path}: '{name}'"):
            return name in self._file


@contextlib.contextmanager
def open_file(path: Union[str, Path]) -> Iterator[Reader]:
    """Open an HDF5 file for reading. Raises UserError if it is missing, truncated or not an HDF5 file."""
    path = Path(path)
    try:
        # No file lock: parallel file systems often do not support it, and nothing here writes to its input.
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
    """Open an HDF5 file whose content is in memory, such as an archive's member.

    Args:
        content: the file's bytes.
        where: its name, for messages.

    Raises:
        UserError: if it is not an HDF5 file.
    """
    try:
        file = h5py.File.in_memory(content)
    except _DAMAGED as error:
        raise UserError(f"{where}: cannot be read as HDF5 ({error}; {len(content)} bytes): copy it again") from error
    with file:
        yield Reader(file, Path(where))

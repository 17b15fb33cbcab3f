"""Where a product's files lie, in a folder or in a zip archive, and what every reader of them gives."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Optional, Protocol

import numpy as np

from cloudmask.sen3 import names
from cloudmask.sen3.table import Entry
from common.data.hdf5 import MOST_BYTES
from common.errors import UserError

# What zipfile raises for archives whose bytes are not what they should be, or that need a password.
_DAMAGED = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    NotImplementedError,
    EOFError,
    ValueError,
)
_MOST_ENTRIES = 100_000  # of an archive; an EOPF product of all grids has some 5000


class Array(NamedTuple):
    """A variable as it is stored. fill: the number that stands for no data, None if there is none; grid: the attributes
    resolution, track_offset and start_offset of its grid."""

    where: str
    values: np.ndarray
    attributes: dict
    fill: Optional[float]
    grid: dict


class Layout(NamedTuple):
    """What is known of a variable before it is read; grid as of Array."""

    where: str
    shape: tuple[int, ...]
    grid: dict


def not_whole(entry: Entry) -> str:
    """How a message on a file that is missing ends."""
    other = ", or take data.stripe: a" if entry.grid == "bn" else ""
    return f"the product is not whole; download it again{other}"


class Reader(Protocol):
    """A product in one of its two forms. Every error is a UserError that names file and variable."""

    def has(self, entry: Entry) -> bool:
        """Whether the product has the variable."""
        ...

    def missing(self, entry: Entry) -> str:
        """What to say if it should have it: one line."""
        ...

    def layout(self, entry: Entry) -> Layout: ...

    def read(self, entry: Entry, kind: str) -> Array:
        """kind: NumPy's letters, "iu" for integers, "fiu" for any number."""
        ...

    def baseline(self) -> Optional[int]:
        """The processing baseline, None if the product does not say."""
        ...


class Container(Protocol):
    """Files by their names inside one product."""

    where: str  # for messages

    def has(self, file: str) -> bool: ...

    def read(self, file: str, most: int = MOST_BYTES) -> bytes:
        """All bytes of a file. Raises UserError if it has more than `most`, or its place is outside the product."""
        ...

    def path(self, file: str) -> Optional[Path]:
        """None for what is in an archive."""
        ...


class Folder:
    """A product's folder; of X.SEN3/X.SEN3, which some tools leave, the inner one."""

    def __init__(self, path: Path):
        inner = path / path.name
        self._root = inner if inner.is_dir() else path
        self._real = self._root.resolve()
        self.where = str(self._root)

    def has(self, file: str) -> bool:
        return (self._root / file).is_file()

    def path(self, file: str) -> Path:
        return self._root / file

    def read(self, file: str, most: int = MOST_BYTES) -> bytes:
        path = self._root / file
        try:
            if self._real not in path.resolve().parents:
                raise UserError(f"{path}: leads out of the product, to {path.resolve()}: refused; copy the data in")
            if path.stat().st_size > most:
                raise UserError(f"{path}: has {path.stat().st_size} bytes, {most} at most expected")
            return path.read_bytes()
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            raise UserError(f"{path}: cannot be read ({error}): copy it again") from error


class Archive:
    """A zip archive of one product, read in place, by any number of threads.

    No two threads read from one ZipFile at a time: Python 3.12 before 3.12.9 and 3.13 before 3.13.2 (CPython issue
    127847) then lose their place in the archive, which looks like damage.
    """

    def __init__(self, path: Path):
        self._path = path
        self._idle: list[zipfile.ZipFile] = []
        with self._opened() as archive:
            self._entries = {each.filename: each for each in archive.infolist()[:_MOST_ENTRIES]}
        self.product = self._only_product()
        self.where = f"{path}/{self.product}"

    def _only_product(self) -> str:
        """The folder in the archive that is the product, with those above it; the innermost of X.SEN3/X.SEN3."""
        roots = set()
        for name in self._entries:
            parts = name.split("/")
            depths = [depth for depth, part in enumerate(parts[:-1], 1) if names.is_product_folder(part)]
            if depths:
                roots.add("/".join(parts[: depths[-1]]))
        inner = [root for root in roots if not any(other.startswith(f"{root}/") for other in roots)]
        if len(inner) != 1 or not names.is_product(inner[0]):
            raise UserError(f"{self._path}: holds {len(inner)} folders *.SEN3 or *.zarr, one expected: unpack it")
        return inner[0]

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        """The archive for this thread alone."""
        try:
            archive = self._idle.pop()
        except IndexError:
            try:
                archive = zipfile.ZipFile(self._path)
            except _DAMAGED as error:
                raise UserError(f"{self._path}: cannot be read as a zip archive ({error}): copy it again") from error
        yield archive
        self._idle.append(archive)

    def has(self, file: str) -> bool:
        return f"{self.product}/{file}" in self._entries

    def path(self, file: str) -> None:
        return None

    def read(self, file: str, most: int = MOST_BYTES) -> bytes:
        entry = self._entries[f"{self.product}/{file}"]
        if entry.file_size > most:
            raise UserError(f"{self.where}/{file}: unpacks to {entry.file_size} bytes, {most} at most expected")
        try:
            with self._opened() as archive:
                return archive.read(entry)
        except _DAMAGED as error:
            raise UserError(f"{self.where}/{file}: cannot be unpacked ({error}): copy the archive again") from error

"""A product as a folder or archive of netCDF 4 files, which are HDF5."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from cloudmask.sen3 import names
from cloudmask.sen3.files import Array, Container, Layout, not_whole
from cloudmask.sen3.table import Entry
from common.data import hdf5
from common.errors import UserError

_GRID = ("resolution", "track_offset", "start_offset")


class Sen3:
    """A *.SEN3 product."""

    def __init__(self, container: Container):
        self._files = container

    def has(self, entry: Entry) -> bool:
        if not self._files.has(entry.file):
            return False
        with self._open(entry) as file:
            return file.has(entry.variable)

    def missing(self, entry: Entry) -> str:
        where = self._files.where
        if not self._files.has(entry.file):
            return f"{where}: {entry.file} is missing: {not_whole(entry)}"
        return f"{where}/{entry.file}: dataset '{entry.variable}' is missing: the product is not whole"

    def layout(self, entry: Entry) -> Layout:
        with self._open(entry) as file:
            dataset = file.dataset(entry.variable, "fiu")
            return Layout(dataset.where, dataset.shape, _grid(file))

    def read(self, entry: Entry, kind: str) -> Array:
        with self._open(entry) as file:
            dataset = file.dataset(entry.variable, kind)
            attributes = dataset.attributes()
            return Array(dataset.where, dataset.read(), attributes, attributes.get("_FillValue"), _grid(file))

    def baseline(self) -> Optional[int]:
        return names.baseline(self._files.where)

    @contextmanager
    def _open(self, entry: Entry) -> Iterator[hdf5.Reader]:
        if not self._files.has(entry.file):
            raise UserError(self.missing(entry))
        path = self._files.path(entry.file)
        if path is not None:
            with hdf5.open_file(path) as file:
                yield file
            return
        with hdf5.open_bytes(self._files.read(entry.file), f"{self._files.where}/{entry.file}") as file:
            yield file


def _grid(file: hdf5.Reader) -> dict:
    attributes = file.attributes()
    return {name: attributes[name] for name in _GRID if name in attributes}

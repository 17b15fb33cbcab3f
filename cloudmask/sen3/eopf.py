"""A product in ESA's EOPF form: Zarr arrays, format 2 or 3, read by the package zarr.

zarr is never given the product itself. Each array's own description is checked here (plain numbers, no codec but those
that EOPF's products are packed with, sizes of an image), its chunks are read by name from inside the product, and what
they say of their unpacked size is compared, before zarr unpacks them from memory: a description may name any codec, one
of which runs what a chunk says (pickle), and a small chunk may unpack into gigabytes.

EOPF's attributes are its own: no data is `fill_value`, not `_FillValue` (the arrays' own fill value means a chunk that
was not written), and offsets of grids are in the product's attributes alone.
"""

import itertools
import json
import math
from typing import Any, NamedTuple, Optional

import numpy as np

from cloudmask.sen3 import names
from cloudmask.sen3.files import Array, Container, Layout, not_whole
from cloudmask.sen3.table import GRIDS, Entry
from common.data.hdf5 import MOST_BYTES
from common.errors import UserError

_MOST_JSON = 64 << 20  # of a description; a root with all of its arrays' (consolidated) has 1.3 MB
_MOST_CHUNKS = 10_000


class _Description(NamedTuple):
    """Of one array. chunks: their shape; files: by the position of each chunk, its name; metadata: what zarr reads, and
    its file's name; packing: blosc, zstd, or empty for none."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    separator: str
    prefix: str
    attributes: dict
    metadata: dict[str, bytes]
    packing: str
    format: int


class Eopf:
    """A *.zarr product."""

    def __init__(self, container: Container):
        self._files = container
        self._root: Optional[dict] = None

    def has(self, entry: Entry) -> bool:
        return bool(entry.array) and any(self._files.has(f"{entry.array}/{each}") for each in (".zarray", "zarr.json"))

    def missing(self, entry: Entry) -> str:
        if not entry.array:
            return f"{self._files.where}: has no {entry.variable}, which products in Zarr do not hold"
        return f"{self._files.where}: {entry.array} is missing: {not_whole(entry)}"

    def layout(self, entry: Entry) -> Layout:
        description = self._describe(entry)
        return Layout(self._where(entry), description.shape, self._grid(entry.grid))

    def read(self, entry: Entry, kind: str) -> Array:
        description, where = self._describe(entry), self._where(entry)
        if description.dtype.kind not in kind:
            raise UserError(
                f"{where} holds {description.dtype}, but {'integers are' if kind == 'iu' else 'numbers are'} needed"
            )
        values = _unpacked(description, self._chunks(entry, description), where)
        fill = description.attributes.get("fill_value")
        return Array(where, values, description.attributes, fill, self._grid(entry.grid))

    def baseline(self) -> Optional[int]:
        collection = str(self._stac().get("collection", ""))
        return int(collection) if collection.isdigit() else names.baseline(self._files.where)

    def _where(self, entry: Entry) -> str:
        return f"{self._files.where}/{entry.array}"

    def _json(self, file: str) -> Any:
        where = f"{self._files.where}/{file}"
        try:
            return json.loads(self._files.read(file, _MOST_JSON))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: is not JSON ({error}): copy it again") from None

    def _stac(self) -> dict:
        """The product's description, with which EOPF begins its attributes."""
        if self._root is None:
            for file in ("zarr.json", ".zattrs"):
                if self._files.has(file):
                    content = self._json(file)
                    attributes = content.get("attributes", content) if isinstance(content, dict) else {}
                    found = attributes.get("stac_discovery") if isinstance(attributes, dict) else None
                    self._root = found if isinstance(found, dict) else {}
                    break
            else:
                raise UserError(
                    f"{self._files.where}: has neither zarr.json nor .zattrs: it is no Zarr product, or not whole"
                )
        return self._root

    def _grid(self, name: str) -> dict:
        """As a SEN3 file's attributes have it; empty where the product does not tell."""
        wanted = GRIDS[name]
        try:
            shapes = self._stac()["properties"]["proj:shape"]
            grid = next(each for each in shapes if each["name"] == wanted.title)
            across = grid["raster:spatial_resolution"]
            return {
                "resolution": f"[ {across} {wanted.along} ]",
                **{each: grid[each] for each in ("track_offset", "start_offset")},
            }
        except (KeyError, TypeError, StopIteration):
            return {}

    def _describe(self, entry: Entry) -> _Description:
        where = self._where(entry)
        if not self.has(entry):
            raise UserError(self.missing(entry))
        try:
            if self._files.has(f"{entry.array}/zarr.json"):
                description = _format_3(self._json(f"{entry.array}/zarr.json"))
            else:
                attributes = f"{entry.array}/.zattrs"
                description = _format_2(
                    self._json(f"{entry.array}/.zarray"), self._json(attributes) if self._files.has(attributes) else {}
                )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(f"{where}: its description is not that of an EOPF product's array ({error})") from None
        size = math.prod(description.shape) * description.dtype.itemsize
        chunk = math.prod(description.chunks) * description.dtype.itemsize
        if not description.shape or min(description.shape + description.chunks) < 1:
            raise UserError(f"{where} is empty (shape {description.shape})")
        if max(size, chunk) > MOST_BYTES:
            raise UserError(
                f"{where} has shape {description.shape} in chunks of {description.chunks}: too large for a product"
            )
        if math.prod(_counts(description)) > _MOST_CHUNKS:
            raise UserError(f"{where} has {math.prod(_counts(description))} chunks, {_MOST_CHUNKS} at most expected")
        return description

    def _chunks(self, entry: Entry, description: _Description) -> dict[str, bytes]:
        """Those that are there, by name. One that was never written is all 0, which only flags may be."""
        chunks = {}
        most = math.prod(description.chunks) * description.dtype.itemsize
        for position in itertools.product(*map(range, _counts(description))):
            name = description.prefix + description.separator.join(map(str, position))
            file = f"{entry.array}/{name}"
            if self._files.has(file):
                chunks[name] = self._files.read(file, 2 * most + 4096)
                _check_size(chunks[name], description.packing, most, f"{self._files.where}/{file}")
            elif "flag_masks" not in description.attributes:
                raise UserError(f"{self._files.where}/{file} is missing: the product is not whole; download it again")
        return chunks


def _counts(description: _Description) -> list[int]:
    return [-(-length // chunk) for length, chunk in zip(description.shape, description.chunks)]


def _format_3(content: dict) -> _Description:
    if content["zarr_format"] != 3 or content["node_type"] != "array" or content.get("storage_transformers"):
        raise ValueError("no plain array of format 3")
    codecs = [codec["name"] for codec in content["codecs"]]
    packing = codecs[1] if len(codecs) == 2 else ""
    if codecs[0] != "bytes" or codecs[1:] not in ([], ["zstd"], ["blosc"]):
        raise ValueError(f"codecs {codecs}, where bytes and zstd or blosc are expected")
    grid, keys = content["chunk_grid"], content["chunk_key_encoding"]
    if grid["name"] != "regular" or keys["name"] not in ("default", "v2"):
        raise ValueError(f"chunk grid {grid['name']}, keys {keys['name']}")
    default = keys["name"] == "default"
    separator = keys.get("configuration", {}).get("separator", "/" if default else ".")
    shape, chunks = _lengths(content["shape"]), _lengths(grid["configuration"]["chunk_shape"], len(content["shape"]))
    return _Description(
        shape,
        chunks,
        _number(content["data_type"]),
        _separator(separator),
        f"c{separator}" if default else "",
        dict(content.get("attributes", {})),
        {"zarr.json": json.dumps(content).encode()},
        packing,
        3,
    )


def _format_2(content: dict, attributes: dict) -> _Description:
    if content["zarr_format"] != 2 or content.get("filters"):
        raise ValueError(
            f"format {content['zarr_format']} with filters {content.get('filters')}, where none are expected"
        )
    compressor = content["compressor"]
    packing = compressor["id"] if compressor else ""
    if packing not in ("", "zstd", "blosc"):
        raise ValueError(f"codec {packing}, where zstd or blosc is expected")
    if content["order"] != "C":
        raise ValueError(f"order {content['order']}")
    return _Description(
        _lengths(content["shape"]),
        _lengths(content["chunks"], len(content["shape"])),
        _number(content["dtype"]),
        _separator(content.get("dimension_separator", ".")),
        "",
        dict(attributes),
        {".zarray": json.dumps(content).encode()},
        packing,
        2,
    )


def _lengths(values: Any, count: Optional[int] = None) -> tuple[int, ...]:
    lengths = tuple(int(value) for value in values)
    if count is not None and len(lengths) != count:
        raise ValueError(f"chunks of {len(lengths)} axes for {count}")
    return lengths


def _number(name: Any) -> np.dtype:
    dtype: np.dtype = np.dtype(str(name))
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ValueError(f"type {name}, where plain numbers are expected")
    return dtype


def _separator(value: Any) -> str:
    if value not in (".", "/"):
        raise ValueError(f"separator {value!r}")
    return str(value)


def _check_size(chunk: bytes, packing: str, expected: int, where: str) -> None:
    """Raises UserError for a chunk that says of itself that it unpacks to another size than the array's chunks have."""
    size = {"": len, "blosc": blosc_size, "zstd": zstd_size}[packing](chunk)
    if size != expected:
        raise UserError(f"{where} unpacks to {size} bytes, {expected} expected: it is damaged; copy it again")


def blosc_size(chunk: bytes) -> int:
    """By the header of 16 bytes (c-blosc, README_CHUNK_FORMAT): uncompressed size at 4, compressed size at 12."""
    whole = len(chunk) >= 16 and int.from_bytes(chunk[12:16], "little") == len(chunk)
    return int.from_bytes(chunk[4:8], "little") if whole else -1


def zstd_size(chunk: bytes) -> int:
    """By the frame's header (RFC 8878, 3.1.1.1); -1 if it does not say."""
    if len(chunk) < 9 or chunk[:4] != b"\x28\xb5\x2f\xfd":
        return -1
    flags = chunk[4]
    single, field = bool(flags & 32), flags >> 6
    length = (1 if single else 0, 2, 4, 8)[field]
    first = 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
    if not length:
        return -1
    return int.from_bytes(chunk[first : first + length], "little") + (256 if length == 2 else 0)


def _unpacked(description: _Description, chunks: dict[str, bytes], where: str) -> np.ndarray:
    try:
        import zarr
    except ImportError:
        raise UserError(
            f"{where}: products in Zarr are read by the package zarr, which is not installed: pip install zarr"
        ) from None
    stored: Any = {**description.metadata, **chunks}
    newer = int(zarr.__version__.split(".")[0]) >= 3
    if description.format == 3 and not newer:
        raise UserError(
            f"{where}: is in Zarr format 3, which zarr {zarr.__version__} cannot read: zarr 3 can, on Python 3.11 and "
            "newer"
        )
    try:
        if newer:
            from zarr.core.buffer import default_buffer_prototype
            from zarr.storage import MemoryStore

            prototype = default_buffer_prototype().buffer
            stored = MemoryStore({name: prototype.from_bytes(content) for name, content in stored.items()})
        array = (
            zarr.open_array(stored, mode="r", zarr_format=description.format)
            if newer
            else zarr.open_array(stored, mode="r")
        )
        return np.ascontiguousarray(array[...])
    except (RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
        raise UserError(f"{where} cannot be unpacked ({error}): it is damaged; copy it again") from error

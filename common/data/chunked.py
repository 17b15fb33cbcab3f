"""Chunks of an HDF5 dataset that zlib packed, unpacked without the HDF5 library, which lets one thread in at a time.

The package isal does it where it is installed, in a third of the time.
"""

import itertools
import math
import sys
import zlib
from typing import Any, NamedTuple, Optional

import h5py
import numpy as np

_inflate: Any = zlib
try:
    from isal import isal_zlib
except ImportError:
    pass
else:
    _inflate = isal_zlib

_SHUFFLE, _DEFLATE = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE
_MOST_CHUNKS = 4096  # with more, looking up their offsets takes longer than the library does


class Chunk(NamedTuple):
    """part: where in the dataset it belongs, cut at its edge. offset, size: of its bytes in the file."""

    part: tuple[slice, ...]
    offset: int
    size: int


class Chunks(NamedTuple):
    """All of a dataset's. shape: of each, edges included. shuffled: whether the first bytes of all numbers come first,
    then the second ones."""

    shape: tuple[int, ...]
    shuffled: bool
    chunks: list[Chunk]


def packed_by_zlib(dataset: h5py.Dataset) -> Optional[Chunks]:
    """None for a dataset that is stored in any other way, or has chunks that were never written."""
    if dataset.chunks is None or not dataset.dtype.isnative or dataset.dtype.kind not in "iuf":
        return None
    if dataset.file.driver == "core" or dataset.file.userblock_size:
        return None
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    numbers = [-(-length // step) for length, step in zip(dataset.shape, dataset.chunks)]
    whole = dataset.id.get_num_chunks() == math.prod(numbers) <= _MOST_CHUNKS
    if filters not in ([_DEFLATE], [_SHUFFLE, _DEFLATE]) or not whole:
        return None
    starts = itertools.product(*(range(0, length, step) for length, step in zip(dataset.shape, dataset.chunks)))
    most = 2 * math.prod(dataset.chunks) * dataset.dtype.itemsize + 4096  # zlib adds less than that
    chunks = []
    for first in starts:
        stored = dataset.id.get_chunk_info_by_coord(first)
        if stored.filter_mask or stored.byte_offset is None or stored.size > most:
            return None
        ends = (min(start + step, length) for start, step, length in zip(first, dataset.chunks, dataset.shape))
        chunks.append(Chunk(tuple(map(slice, first, ends)), stored.byte_offset, stored.size))
    return Chunks(dataset.chunks, _SHUFFLE in filters, chunks)


def unpack(packed: np.ndarray, dtype: np.dtype, chunks: Chunks) -> np.ndarray:
    """One chunk's numbers, [chunks.shape], of its bytes. Raises ValueError if they are not so many."""
    size = math.prod(chunks.shape) * dtype.itemsize
    stream = _inflate.decompressobj()
    try:
        content = stream.decompress(packed.data, size)
        more = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
    except _inflate.error as error:
        raise ValueError(str(error)) from None
    if len(content) != size or more:
        raise ValueError(f"a chunk does not unpack to {size} bytes")
    if not chunks.shuffled or dtype.itemsize == 1:
        return np.frombuffer(content, dtype).reshape(chunks.shape)
    planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1)
    if dtype.itemsize == 2 and sys.byteorder == "little":  # as below, in half the time
        pairs = planes[1].astype(np.uint16)
        pairs <<= 8
        pairs |= planes[0]
        return pairs.view(dtype).reshape(chunks.shape)
    numbers = np.empty((size // dtype.itemsize, dtype.itemsize), np.uint8)
    for place, plane in enumerate(planes):
        numbers[:, place] = plane
    return numbers.view(dtype).reshape(chunks.shape)

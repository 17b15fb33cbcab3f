"""Samples that are on both sides of a split under two names: a score on them is not one on unseen data.

Files of one size are compared by a few of their blocks, and those that agree as a whole, so that a data set is not read
twice: 1000 files take a second or so.
"""

import filecmp
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from common import distributed
from common.data.files import DataFile
from common.data.order import share

_BLOCKS, _BLOCK_BYTES = 5, 4096  # that are compared of each file
_MOST_FILES = 4096  # that a rank looks at; of more, an even choice
_MOST_COMPARED = 16  # pairs that are read as a whole
_THREADS = 8  # a parallel file system answers several requests at a time


class Pair(NamedTuple):
    """Two samples of the same contents."""

    first: DataFile
    second: DataFile


def in_words(training: Sequence[DataFile], held_out: Sequence[DataFile], kind: str) -> str:
    """Say in one line which samples are on both sides of a split; empty if none is. Collective.

    Args:
        training: the samples to train on.
        held_out: those to score on.
        kind: what a sample is called, in the plural.
    """
    pairs = on_both_sides(training, held_out)
    if not pairs:
        return ""
    pair, count = pairs[0], len(pairs)
    more = "at least " if count == _MOST_COMPARED else ""
    return (
        f"warning: {more}{count} of the {len(held_out)} held-out {kind} have the contents of one to train on: "
        f"{pair.second.path} is {pair.first.path}; scores on them are not of unseen data: remove one of the two"
    )


def on_both_sides(first: Sequence[DataFile], second: Sequence[DataFile]) -> list[Pair]:
    """Find the samples of `second` whose contents one of `first` has, at most 16. Collective."""
    sizes = {file.bytes for file in first} & {file.bytes for file in second}
    files = [[file for file in side if file.bytes in sizes] for side in (first, second)]
    limit = _MOST_FILES * distributed.size()
    kept = [side[:: -(-len(side) * 2 // limit)] if 2 * len(side) > limit else side for side in files]
    digests = _digests([*kept[0], *kept[1]])

    def compare() -> list[Pair]:
        by_digest = {digests[file.path]: file for file in kept[0] if digests[file.path]}
        suspects = [Pair(by_digest[digests[file.path]], file) for file in kept[1] if digests[file.path] in by_digest]
        return [pair for pair in suspects[:_MOST_COMPARED] if _same(pair)]

    return distributed.on_root(compare)


def _digests(files: list[DataFile]) -> dict[str, str]:
    """Digests of a few blocks by path; empty for what cannot be read, which whoever reads the sample says better."""
    begin, end = share(len(files), distributed.rank(), distributed.size())
    with ThreadPoolExecutor(_THREADS) as threads:
        own = list(threads.map(_digest, files[begin:end]))
    every = [digest for part in distributed.gather_objects(own) for digest in part]
    return dict(zip((file.path for file in files), every))


def _digest(file: DataFile) -> str:
    try:
        with open(_largest(file.path), "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            digest = hashlib.sha256(f"{file.bytes} {size}".encode())
            for number in range(_BLOCKS):
                opened.seek(max(size - _BLOCK_BYTES, 0) * number // (_BLOCKS - 1))
                digest.update(opened.read(_BLOCK_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()


def _largest(path: str) -> str:
    """The file itself; of a sample that is a folder, its largest file, by whose contents the sample is known."""
    if not os.path.isdir(path):
        return path
    # What cannot be read in it was said when the samples were listed.
    inside = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return max(inside, key=lambda each: (os.path.getsize(each), each), default=path)


def _same(pair: Pair) -> bool:
    try:
        return filecmp.cmp(_largest(pair.first.path), _largest(pair.second.path), shallow=False)
    except OSError:
        return False

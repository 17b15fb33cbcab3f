"""Which samples a rank sees, and when: a pure function of (seed, epoch, rank, size).

So a run can stop after any update and go on exactly, without reading what it skips. Training deals samples out to ranks
anew in each epoch, or keeps a rank's share and mixes it; evaluation sees every sample once, in file order.

A file holds one or several samples (the 20 patches of a scene). The samples of a file stay together on one rank, but
for the files at a share's ends, so that hardly any file is read twice; they are mixed with those of the files of one
window, which are in memory at the same time.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np


class Part(NamedTuple):
    """`first` and one past the `last` of a list's items."""

    first: int
    last: int


def share(total: int, rank: int, size: int) -> Part:
    """The part of `total` items that is this rank's: contiguous, and even to within one."""
    return Part(rank * total // size, (rank + 1) * total // size)


class Order(Protocol):
    """Of a rank. `samples`: of an epoch over all ranks."""

    @property
    def samples(self) -> int: ...

    def epoch(self, number: int) -> np.ndarray:
        """The rank's samples in the order of use, [n, 2] integer: (file, sample in file)."""
        ...


@dataclass(frozen=True)
class TrainingOrder:
    """Shuffled over files and, within windows of files, over their samples.

    fixed_share: a rank keeps the same files in every epoch (so that it can cache them); else they are dealt out anew.
    window: so many files' samples are mixed; files of one sample are mixed over the rank's whole share.
    """

    files: int
    samples_per_file: int
    seed: int
    rank: int
    size: int
    window: int
    fixed_share: bool = False

    @property
    def samples(self) -> int:
        return self.files * self.samples_per_file

    @lru_cache(maxsize=4)  # noqa: B019 - few orders are made, each lives as long as the run
    def epoch(self, number: int) -> np.ndarray:
        deal = np.random.Generator(np.random.PCG64([self.seed, 0 if self.fixed_share else number + 1]))
        sequence = np.repeat(deal.permutation(self.files), self.samples_per_file)
        first, last = share(len(sequence), self.rank, self.size)
        in_file = np.tile(np.arange(self.samples_per_file), self.files)
        samples = np.stack([sequence, in_file], axis=1)[first:last]
        mix = np.random.Generator(np.random.PCG64([self.seed, number, self.rank, self.size]))
        own_files = mix.permutation(np.unique(samples[:, 0]))
        window = self.window if self.samples_per_file > 1 else max(self.files, 1)
        parts = [
            mix.permutation(samples[np.isin(samples[:, 0], own_files[start : start + window])])
            for start in range(0, len(own_files), window)
        ]
        return np.concatenate(parts) if parts else samples


@dataclass(frozen=True)
class EvaluationOrder:
    """Over all ranks every sample once, in file order, the same in every epoch."""

    files: int
    samples_per_file: int
    rank: int
    size: int

    @property
    def samples(self) -> int:
        return self.files * self.samples_per_file

    def epoch(self, number: int) -> np.ndarray:
        first, last = share(self.files * self.samples_per_file, self.rank, self.size)
        return np.stack(np.divmod(np.arange(first, last), self.samples_per_file), axis=1)

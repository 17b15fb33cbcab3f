"""The samples that a rank uses, and their order: a pure function of (seed, epoch, rank, size).

So a run can stop after any update and resume exactly there, without reading the samples it skips. Training distributes
the samples among the ranks anew in each epoch, or keeps each rank's share and shuffles it; evaluation uses every sample
once, in file order.

A file contains one or several samples. They stay together on one rank, except for files at the ends of a share, so that
hardly any file is read twice. They are shuffled with the samples of a window of files, which are in memory together.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np


class Part(NamedTuple):
    """A range of items."""

    first: int
    last: int  # exclusive


def share(total: int, rank: int, size: int) -> Part:
    """Return the rank's part of `total` items. Parts are contiguous, and their sizes differ by one at most."""
    return Part(rank * total // size, (rank + 1) * total // size)


class Order(Protocol):
    """The order in which one rank uses samples."""

    @property
    def samples(self) -> int:
        """Number of samples in an epoch, over all ranks."""
        ...

    def held(self) -> np.ndarray:
        """Return the samples that the rank may use in any epoch, [n, 2] as `epoch` does."""
        ...

    def epoch(self, number: int) -> np.ndarray:
        """Return the rank's samples of epoch `number` in the order of use, [n, 2] integer: (file, sample in file)."""
        ...


@dataclass(frozen=True)
class TrainingOrder:
    """Files in random order, and within windows of files their samples in random order.

    Attributes:
        files: number of files in the data set.
        samples_per_file: number of samples in each file.
        seed: seed of the shuffling.
        rank: number of this rank.
        size: number of ranks.
        window: number of files whose samples are mixed; files of one sample are mixed over the rank's whole share.
        fixed_share: a rank keeps the same files in every epoch (so that it can cache them); otherwise files are
            distributed anew in each.
        copies: with a fixed share, the number of neighbouring ranks, a divisor of `size`, that hold the same files and
            redistribute them among themselves in every epoch. With copies = size that is a global shuffle.
    """

    files: int
    samples_per_file: int
    seed: int
    rank: int
    size: int
    window: int
    fixed_share: bool = False
    copies: int = 1

    @property
    def samples(self) -> int:
        return self.files * self.samples_per_file

    def held(self) -> np.ndarray:
        """Return the samples of this rank's group of `copies` ranks with a fixed share, all samples without one."""
        group, groups = (self.rank // self.copies, self.size // self.copies) if self.fixed_share else (0, 1)
        return self._shuffled_part(0, group, groups)

    def _shuffled_part(self, shuffle: int, part: int, parts: int) -> np.ndarray:
        """Shuffle the files, the same way for the same `shuffle`, and return the samples of one of `parts` parts."""
        files = np.random.Generator(np.random.PCG64([self.seed, shuffle])).permutation(self.files)
        first, last = share(self.samples, part, parts)
        in_file = np.tile(np.arange(self.samples_per_file), self.files)
        return np.stack([np.repeat(files, self.samples_per_file), in_file], axis=1)[first:last]

    def _share_of_group(self, number: int) -> np.ndarray:
        """Return this rank's part of its group's samples in epoch `number`."""
        held, group = self.held(), self.rank // self.copies
        files = np.unique(held[:, 0])
        shuffle = np.random.Generator(np.random.PCG64([self.seed, number + 1, group]))
        position = dict(zip(shuffle.permutation(files).tolist(), range(len(files))))
        held = held[np.argsort([position[file] for file in held[:, 0].tolist()], kind="stable")]
        first, last = share(len(held), self.rank % self.copies, self.copies)
        return held[first:last]

    @lru_cache(maxsize=4)  # noqa: B019 - there are few orders, and each lives as long as the run
    def epoch(self, number: int) -> np.ndarray:
        if self.fixed_share:
            samples = self._share_of_group(number) if self.copies > 1 else self.held()
        else:
            samples = self._shuffled_part(number + 1, self.rank, self.size)
        shuffle = np.random.Generator(np.random.PCG64([self.seed, number, self.rank, self.size]))
        own_files = shuffle.permutation(np.unique(samples[:, 0]))
        window = self.window if self.samples_per_file > 1 else max(self.files, 1)
        parts = [
            shuffle.permutation(samples[np.isin(samples[:, 0], own_files[start : start + window])])
            for start in range(0, len(own_files), window)
        ]
        return np.concatenate(parts) if parts else samples


@dataclass(frozen=True)
class RedealtOrder:
    """One rank's part of the global batches of a run that began on another number of ranks.

    In every update, the `each` samples that each of the former ranks in `orders` would have used are joined; this rank
    uses `own` of them, from number `skip` on.
    """

    orders: tuple[TrainingOrder, ...]
    each: int
    skip: int
    own: int
    updates: int  # in an epoch

    @property
    def samples(self) -> int:
        return self.orders[0].samples

    def held(self) -> np.ndarray:
        return np.concatenate([order.held() for order in self.orders])

    @lru_cache(maxsize=4)  # noqa: B019 - as above
    def epoch(self, number: int) -> np.ndarray:
        used = self.updates * self.each
        parts = [order.epoch(number)[:used].reshape(self.updates, self.each, 2) for order in self.orders]
        return np.concatenate(parts, 1)[:, self.skip : self.skip + self.own].reshape(-1, 2)


class AsBegun(NamedTuple):
    """This rank's order in a resumed run."""

    order: Order
    orders: int  # number of former ranks from whose orders it takes samples


def as_begun(order: TrainingOrder, began_on: int, batch: int) -> AsBegun:
    """Return the order of a rank in a run that began on another number of ranks, with the same global batches.

    Args:
        order: the rank's order if the run had begun on the present number of ranks.
        began_on: number of ranks that the run began on, a divisor of the global batch; 0 for the present number.
        batch: samples of the rank in an update.
    """
    if began_on in (0, order.size):
        return AsBegun(order, 1)
    each = batch * order.size // began_on
    first, last = order.rank * batch, (order.rank + 1) * batch
    former = range(first // each, -(-last // each))
    orders = tuple(replace(order, rank=rank, size=began_on) for rank in former)
    updates = order.samples // (each * began_on)
    return AsBegun(RedealtOrder(orders, each, first - former[0] * each, batch, updates), len(orders))


@dataclass(frozen=True)
class EvaluationOrder:
    """Every sample once over all ranks, in file order, the same in every epoch."""

    files: int
    samples_per_file: int
    rank: int
    size: int

    @property
    def samples(self) -> int:
        return self.files * self.samples_per_file

    def held(self) -> np.ndarray:
        return self.epoch(0)

    def epoch(self, number: int) -> np.ndarray:
        first, last = share(self.files * self.samples_per_file, self.rank, self.size)
        return np.stack(np.divmod(np.arange(first, last), self.samples_per_file), axis=1)

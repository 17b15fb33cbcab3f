"""Which samples a rank sees, and when: a pure function of (seed, epoch, rank, size).

So a run can stop after any update and go on exactly, without reading what it skips. Training deals samples out to ranks
anew in each epoch, or keeps a rank's share and mixes it; evaluation sees every sample once, in file order.

A file holds one or several samples. The samples of a file stay together on one rank, but
for the files at a share's ends, so that hardly any file is read twice; they are mixed with those of the files of one
window, which are in memory at the same time.
"""

from dataclasses import dataclass, replace
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

    def held(self) -> np.ndarray:
        """The samples that the rank may see in any epoch, [n, 2] as epoch gives them."""
        ...

    def epoch(self, number: int) -> np.ndarray:
        """The rank's samples in the order of use, [n, 2] integer: (file, sample in file)."""
        ...


@dataclass(frozen=True)
class TrainingOrder:
    """Shuffled over files and, within windows of files, over their samples.

    fixed_share: a rank keeps the same files in every epoch (so that it can cache them); else they are dealt out anew.
    copies: with a fixed share, so many neighbouring ranks, a divisor of `size`, hold the same files and deal them out
    anew among themselves in every epoch; copies of all ranks' number make that a global shuffle.
    window: so many files' samples are mixed; files of one sample are mixed over the rank's whole share.
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
        """With a fixed share, those of this rank's group of `copies` ranks; without one, all."""
        group, groups = (self.rank // self.copies, self.size // self.copies) if self.fixed_share else (0, 1)
        return self._dealt(0, group, groups)

    def _dealt(self, deal: int, part: int, parts: int) -> np.ndarray:
        """The part of all samples that fell to it in a deal."""
        files = np.random.Generator(np.random.PCG64([self.seed, deal])).permutation(self.files)
        first, last = share(self.samples, part, parts)
        in_file = np.tile(np.arange(self.samples_per_file), self.files)
        return np.stack([np.repeat(files, self.samples_per_file), in_file], axis=1)[first:last]

    def _share_of_group(self, number: int) -> np.ndarray:
        """What of the group's samples is this rank's in epoch `number`."""
        held, group = self.held(), self.rank // self.copies
        files = np.unique(held[:, 0])
        deal = np.random.Generator(np.random.PCG64([self.seed, number + 1, group]))
        place = dict(zip(deal.permutation(files).tolist(), range(len(files))))
        held = held[np.argsort([place[file] for file in held[:, 0].tolist()], kind="stable")]
        first, last = share(len(held), self.rank % self.copies, self.copies)
        return held[first:last]

    @lru_cache(maxsize=4)  # noqa: B019 - few orders are made, each lives as long as the run
    def epoch(self, number: int) -> np.ndarray:
        if self.fixed_share:
            samples = self._share_of_group(number) if self.copies > 1 else self.held()
        else:
            samples = self._dealt(number + 1, self.rank, self.size)
        mix = np.random.Generator(np.random.PCG64([self.seed, number, self.rank, self.size]))
        own_files = mix.permutation(np.unique(samples[:, 0]))
        window = self.window if self.samples_per_file > 1 else max(self.files, 1)
        parts = [
            mix.permutation(samples[np.isin(samples[:, 0], own_files[start : start + window])])
            for start in range(0, len(own_files), window)
        ]
        return np.concatenate(parts) if parts else samples


@dataclass(frozen=True)
class RedealtOrder:
    """The global batches of a run that began on another number of ranks, dealt out to those that go on with it.

    orders: of those former ranks that this rank's part is of, `each` samples of an update from each; of them, laid end
    to end, this rank takes `own` behind the first `skip`.
    """

    orders: tuple[TrainingOrder, ...]
    each: int
    skip: int
    own: int
    updates: int  # of an epoch

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
    """orders: of how many ranks that the run began on."""

    order: Order
    orders: int


def as_begun(order: TrainingOrder, began_on: int, batch: int) -> AsBegun:
    """What `order`'s rank takes, `batch` samples an update, of a run that began on so many ranks: the same global
    batches; `batch` times the ranks there are must be a multiple of `began_on`. 0: it began on as many as there are."""
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
    """Over all ranks every sample once, in file order, the same in every epoch."""

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

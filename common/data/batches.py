"""Batches of one rank by number, as a tf.data pipeline that reads ahead.

Training drops what does not fill a global batch. Evaluation sees every sample once; its last batch may be smaller, and
ranks may hold different numbers of samples. Order: common.data.order. Reading: common.data.sources.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from common import distributed
from common.data.cache import Arrays, CacheSettings, DiskCache, FileCache
from common.data.files import DataFile
from common.data.order import EvaluationOrder, Order, TrainingOrder, as_begun
from common.data.sources import CachedSource, FileFormat, FileSource, Source
from common.errors import UserError

# Of batches that are read ahead, at most so much memory of a rank: eight ranks on a node then take 32 GiB. An
# update may be of 1.8 GB, of which a node's threads would otherwise hold a dozen.
READ_AHEAD_BYTES = 4 << 30


@dataclass(frozen=True)
class Reading:
    """How a rank reads. threads: files at once. recipe: of what decoded arrays depend on besides their file."""

    cache: CacheSettings = CacheSettings()  # noqa: RUF009 - frozen
    threads: int = 2
    recipe: str = ""


class Batches:
    """One rank's batches of `files`. samples: of all ranks. steps_per_epoch: this rank's batches in an epoch."""

    def __init__(self, files: list[DataFile], source: Source, order: Order, batch_size: int, training: bool):
        self.files, self.source, self.batch_size, self.training = files, source, batch_size, training
        self.arrays = source.arrays
        self._order = order
        self.samples = order.samples
        if not training:
            self.steps_per_epoch = -(-len(order.epoch(0)) // batch_size)
            return
        self.steps_per_epoch = order.samples // (batch_size * distributed.size())
        if self.steps_per_epoch == 0:
            raise UserError(
                f"{order.samples} training samples ({len(files)} files) do not fill one global batch of "
                f"{batch_size * distributed.size()} ({distributed.size()} ranks x {batch_size}): use a smaller batch "
                "or fewer ranks",
                on_all_ranks=True,
            )

    def keep_first(self, batches: int) -> None:
        """Give only so many of an epoch from here on."""
        self.steps_per_epoch = min(self.steps_per_epoch, batches)

    def checksum(self) -> str:
        """Of the files' names, sizes and times: changes if a continued run would see other samples."""
        text = "\n".join(f"{file.name} {file.bytes} {file.modified_ns}" for file in self.files)
        return hashlib.sha256(text.encode()).hexdigest()

    def own_files(self) -> list[DataFile]:
        """The files of this rank's share of the first epoch, in the order of their first use."""
        return [self.files[number] for number in dict.fromkeys(self._order.epoch(0)[:, 0].tolist())]

    def held_files(self) -> list[int]:
        """The numbers of the files that this rank may need in any epoch."""
        return list(dict.fromkeys(self._order.held()[:, 0].tolist()))

    def samples_of(self, number: int, batches: int = 1) -> np.ndarray:
        """(file, sample in file) of the samples of batch `number`, and of those after it in its epoch, [n, 2]."""
        epoch, step = divmod(number, self.steps_per_epoch)
        return self._order.epoch(epoch)[step * self.batch_size : (step + batches) * self.batch_size]

    def load(self, number: int) -> Arrays:
        """Batch `number`, counted from 0 over all epochs. Raises UserError where reading fails."""
        try:
            return tuple(array.numpy() for array in next(iter(self.dataset(number, number + 1))))
        except tf.errors.OpError as error:
            raise self.problem(error) from error

    def problem(self, error: tf.errors.OpError) -> BaseException:
        """What a failure of the dataset was about: the error that reading raised, or TensorFlow's own."""
        return self.source.problem(error)

    def dataset(self, first: int = 0, last: Optional[int] = None, parallel: int = 2) -> tf.data.Dataset:
        """Batches first ... last - 1 (by default one epoch), in order, read `parallel` at a time, or fewer where they
        are large."""
        last = self.steps_per_epoch if last is None else last
        size = self.batch_size if self.training else None
        load = self.source.operation(self.samples_of)

        def batch(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            shapes = [(size, *spec.shape) for spec in self.arrays]
            return tuple(tf.ensure_shape(array, shape) for array, shape in zip(load(number), shapes))

        # deterministic: batches come in order however long each read takes, or runs could not be compared.
        ahead = self.read_ahead(parallel)
        numbers = tf.data.Dataset.range(first, last)
        found = numbers.map(batch, num_parallel_calls=ahead.at_once, deterministic=True).prefetch(ahead.ready)
        # Threads of its own: each read holds one as long as it lasts, and the process has but a few between operations.
        options = tf.data.Options()
        options.threading.private_threadpool_size = ahead.at_once + 1
        # Nothing here is left to be tuned, and the tuner's thread may sleep for a minute before it sees that the
        # iterator is to end: 10 to 43 s were lost so between a run's last evaluation and its run_stop.
        options.autotune.enabled = False
        return found.with_options(options)

    def read_ahead(self, parallel: int) -> "ReadAhead":
        """As much of what is asked for as READ_AHEAD_BYTES have room for, and one batch of each at least."""
        sample = sum(int(np.prod(spec.shape)) * tf.as_dtype(spec.dtype).size for spec in self.arrays)
        room = READ_AHEAD_BYTES // max(self.batch_size * sample, 1)
        ready = 2 if room > 3 else 1
        return ReadAhead(max(min(parallel, room - ready), 1), ready)


class ReadAhead(NamedTuple):
    """Batches that are read at once, and those that are kept ready beside them."""

    at_once: int
    ready: int


def training_batches(
    files: list[DataFile],
    form: FileFormat,
    batch_size: int,
    *,
    seed: int,
    reading: Reading,
    fixed_share: bool = False,
    began_on: int = 0,
) -> Batches:
    """Shuffled batches for training. fixed_share: a rank keeps its files in every epoch; a cache implies it. began_on:
    ranks that the run began on, whose global batches it goes on with; 0: as many as there are."""
    settings = reading.cache
    order = TrainingOrder(
        len(files),
        form.samples_per_file,
        seed,
        distributed.rank(),
        distributed.size(),
        # What is all in memory can be mixed over all files at no cost.
        window=len(files) if settings.cache == "memory" else settings.shuffle_files,
        fixed_share=fixed_share or settings.cache != "none",
    )
    followed, orders = as_begun(order, began_on, batch_size)
    return Batches(files, _source(files, form, batch_size, reading, orders), followed, batch_size, training=True)


def evaluation_batches(files: list[DataFile], form: FileFormat, batch_size: int, reading: Reading) -> Batches:
    """Batches in file order, every sample once over all ranks."""
    order = EvaluationOrder(len(files), form.samples_per_file, distributed.rank(), distributed.size())
    return Batches(files, _source(files, form, batch_size, reading), order, batch_size, training=False)


def _source(files: list[DataFile], form: FileFormat, batch_size: int, reading: Reading, orders: int = 1) -> Source:
    """orders: that the samples come from by turns, each with a window of its own."""
    threads = ThreadPoolExecutor(reading.threads, thread_name_prefix="read")
    settings, per_file = reading.cache, form.samples_per_file
    if per_file == 1 and settings.cache == "none":
        return FileSource(files, form, threads)

    def decode(path: str) -> Arrays:
        arrays = form.empty(per_file)
        form.read(path, arrays)
        return arrays

    # Files are read this many samples ahead of their use: one window, so that the next is there in time.
    window = orders * settings.shuffle_files * per_file if per_file > 1 else 2 * batch_size
    keep = None if settings.cache == "memory" else 2 * (window // per_file) + 2
    disk = None
    if settings.cache == "disk":
        shapes = [(spec.shape, np.dtype(spec.dtype).str) for spec in form.arrays]
        disk = DiskCache(settings.cache_dir, f"{reading.recipe} {per_file} {shapes}")
    cache = FileCache(decode, keep, disk, threads)
    return CachedSource(files, form, threads, cache, batches_ahead=-(-window // batch_size))

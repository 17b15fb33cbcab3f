"""One rank's batches, numbered, as a tf.data pipeline that reads ahead.

Training drops samples that do not fill a global batch. Evaluation uses every sample once; its last batch may be
smaller, and ranks may have different numbers of samples. Order: common.data.order. Reading: common.data.sources.
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

# The most memory that a rank's batches read ahead may take: 32 GiB for eight ranks on a node. The batch of an update
# may take 1.8 GB, and a node's threads would otherwise hold a dozen of them.
READ_AHEAD_BYTES = 4 << 30


@dataclass(frozen=True)
class Reading:
    """How a rank reads its files.

    Attributes:
        cache: where decoded samples are kept.
        threads: files read at once.
        recipe: text that names everything besides the file that decoded arrays depend on.
    """

    cache: CacheSettings = CacheSettings()  # noqa: RUF009 - frozen
    threads: int = 2
    recipe: str = ""


class Batches:
    """One rank's batches of `files`.

    Attributes:
        arrays: shape and type of each array of a sample.
        samples: number of samples in an epoch, over all ranks.
        steps_per_epoch: this rank's batches in an epoch.
    """

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
        """Reduce an epoch to its first `batches` batches."""
        self.steps_per_epoch = min(self.steps_per_epoch, batches)

    def checksum(self) -> str:
        """Return a checksum of the files' names, sizes and times, which a resumed run compares with its own."""
        text = "\n".join(f"{file.name} {file.bytes} {file.modified_ns}" for file in self.files)
        return hashlib.sha256(text.encode()).hexdigest()

    def own_files(self) -> list[DataFile]:
        """Return the files of this rank's share of the first epoch, in the order of their first use."""
        return [self.files[number] for number in dict.fromkeys(self._order.epoch(0)[:, 0].tolist())]

    def held_files(self) -> list[int]:
        """Return the numbers of the files that this rank may need in any epoch."""
        return list(dict.fromkeys(self._order.held()[:, 0].tolist()))

    def samples_of(self, number: int, batches: int = 1) -> np.ndarray:
        """Return the samples of consecutive batches of an epoch.

        Args:
            number: number of the first batch, counted from 0 over all epochs.
            batches: how many, fewer at the epoch's end.

        Returns:
            [n, 2] integer: (file, sample in file).
        """
        epoch, step = divmod(number, self.steps_per_epoch)
        return self._order.epoch(epoch)[step * self.batch_size : (step + batches) * self.batch_size]

    def load(self, number: int) -> Arrays:
        """Read batch `number`, counted from 0 over all epochs.

        Raises:
            UserError: if a file cannot be read.
        """
        try:
            return tuple(array.numpy() for array in next(iter(self.dataset(number, number + 1))))
        except tf.errors.OpError as error:
            raise self.problem(error) from error

    def problem(self, error: tf.errors.OpError) -> BaseException:
        """Return the cause of an error of the dataset: the exception that reading raised, or else `error` itself."""
        return self.source.problem(error)

    def dataset(self, first: int = 0, last: Optional[int] = None, parallel: int = 2) -> tf.data.Dataset:
        """Return a pipeline of batches, in order.

        Args:
            first: number of the first batch, counted from 0 over all epochs.
            last: one more than the number of the last batch; None for the first epoch's end.
            parallel: batches read at once, fewer if they are large (`read_ahead`).
        """
        last = self.steps_per_epoch if last is None else last
        size = self.batch_size if self.training else None
        load = self.source.operation(self.samples_of)

        def batch(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            shapes = [(size, *spec.shape) for spec in self.arrays]
            return tuple(tf.ensure_shape(array, shape) for array, shape in zip(load(number), shapes))

        # deterministic: batches come in order however long each read takes; otherwise runs could not be compared.
        ahead = self.read_ahead(parallel)
        numbers = tf.data.Dataset.range(first, last)
        batches = numbers.map(batch, num_parallel_calls=ahead.at_once, deterministic=True).prefetch(ahead.ready)
        # Threads of its own: every read occupies one until it ends, and the process has only a few for all operations.
        options = tf.data.Options()
        options.threading.private_threadpool_size = ahead.at_once + 1
        # There is nothing to tune here, and the tuner's thread may sleep for up to a minute before it notices that the
        # iterator is to end: that cost 10 to 43 s between a run's last evaluation and its run_stop.
        options.autotune.enabled = False
        return batches.with_options(options)

    def read_ahead(self, parallel: int) -> "ReadAhead":
        """Return how many batches are read ahead within READ_AHEAD_BYTES, at least one of each kind.

        Args:
            parallel: batches to read at once if memory allows it.
        """
        sample = sum(int(np.prod(spec.shape)) * tf.as_dtype(spec.dtype).size for spec in self.arrays)
        room = READ_AHEAD_BYTES // max(self.batch_size * sample, 1)
        ready = 2 if room > 3 else 1
        return ReadAhead(max(min(parallel, room - ready), 1), ready)


class ReadAhead(NamedTuple):
    """Numbers of batches that a pipeline holds."""

    at_once: int  # being read
    ready: int  # read, waiting to be used


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
    """Return this rank's shuffled batches for training.

    Args:
        files: the data set's files, the same on all ranks.
        form: how a file is decoded.
        batch_size: samples of this rank in a batch.
        seed: seed of the shuffling.
        reading: cache and threads.
        fixed_share: a rank keeps the same files in every epoch; a cache implies it.
        began_on: number of ranks that the run began on, whose global batches are kept; 0 for the present number.

    Raises:
        UserError: on all ranks, if the samples do not fill one global batch.
    """
    settings = reading.cache
    order = TrainingOrder(
        len(files),
        form.samples_per_file,
        seed,
        distributed.rank(),
        distributed.size(),
        # With all samples in memory, mixing over all files costs nothing.
        window=len(files) if settings.cache == "memory" else settings.shuffle_files,
        fixed_share=fixed_share or settings.cache != "none",
    )
    order_used, orders = as_begun(order, began_on, batch_size)
    return Batches(files, _source(files, form, batch_size, reading, orders), order_used, batch_size, training=True)


def evaluation_batches(files: list[DataFile], form: FileFormat, batch_size: int, reading: Reading) -> Batches:
    """Return this rank's batches for evaluation: in file order, every sample once over all ranks."""
    order = EvaluationOrder(len(files), form.samples_per_file, distributed.rank(), distributed.size())
    return Batches(files, _source(files, form, batch_size, reading), order, batch_size, training=False)


def _source(files: list[DataFile], form: FileFormat, batch_size: int, reading: Reading, orders: int = 1) -> Source:
    """Return what reads the batches.

    Args:
        files: the data set's files.
        form: how a file is decoded.
        batch_size: samples of this rank in a batch.
        reading: cache and threads.
        orders: number of orders from which samples are taken in turn, each with a window of its own.
    """
    threads = ThreadPoolExecutor(reading.threads, thread_name_prefix="read")
    settings, per_file = reading.cache, form.samples_per_file
    if per_file == 1 and settings.cache == "none":
        return FileSource(files, form, threads)

    def decode(path: str) -> Arrays:
        arrays = form.empty(per_file)
        form.read(path, arrays)
        return arrays

    # Files are read this many samples before they are used: one window, so that the next one is ready in time.
    window = orders * settings.shuffle_files * per_file if per_file > 1 else 2 * batch_size
    keep = None if settings.cache == "memory" else 2 * (window // per_file) + 2
    disk = None
    if settings.cache == "disk":
        shapes = [(spec.shape, np.dtype(spec.dtype).str) for spec in form.arrays]
        disk = DiskCache(settings.cache_dir, f"{reading.recipe} {per_file} {shapes}")
    cache = FileCache(decode, keep, disk, threads)
    return CachedSource(files, form, threads, cache, batches_ahead=-(-window // batch_size))

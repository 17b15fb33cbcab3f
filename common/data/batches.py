"""From a list of files to batches: shared out over ranks, shuffled, cached, read ahead.

Which samples make up batch number n of a rank is a pure function of (seed, n, rank, size): a run can stop after any
step and go on exactly, without reading what it skips. Training drops what does not fill a global batch. Evaluation
sees every sample once; its last batch may be smaller, and ranks may hold different numbers of samples.

A file holds one or several samples (the 20 patches of a scene). The samples of a file stay together on one rank, but
for the files at a share's ends, so that hardly any file is read twice; they are mixed with those of `shuffle_files`
files that are in memory at the same time. Files of one sample are decoded straight into their place in the batch.
"""

import hashlib
import os
import socket
import tempfile
import threading
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Callable, Literal, Optional

import numpy as np
import tensorflow as tf
from pydantic import Field

from common import distributed
from common.config.settings import Settings
from common.data.buffers import pool
from common.errors import UserError

Arrays = tuple  # of numpy arrays, each [samples, ...]
Read = Callable[[str, Arrays], None]  # decodes the file of that path into arrays [samples_per_file, ...]


class CacheSettings(Settings):
    cache: Literal["none", "memory", "disk"] = Field(
        "none",
        description="where decoded samples stay after their first use: none | memory | disk; each rank its own share",
    )
    cache_dir: str = Field(
        "",
        description="disk cache: a node-local folder with room for this node's share; empty is TMPDIR",
    )
    shuffle_files: int = Field(
        8, gt=0, description="files whose samples are mixed, twice as many are held in memory; cache: memory mixes all"
    )


@dataclass(frozen=True)
class DataFile:
    """A file as it was when the run began, so that a change in the middle is noticed."""

    path: str
    bytes: int
    modified_ns: int

    @property
    def name(self) -> str:
        return Path(self.path).name

    def check(self) -> None:
        try:
            now = os.stat(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: vanished during the run ({error.strerror})") from error
        if (now.st_size, now.st_mtime_ns) != (self.bytes, self.modified_ns):
            raise UserError(f"{self.path}: changed during the run ({self.bytes} bytes at the start, {now.st_size} now)")


def list_files(folder: str, pattern: str) -> list:
    """The DataFiles below `folder` (any depth) that match `pattern`, sorted by name. Rank 0 looks, all receive.

    Raises UserError on every rank if the folder is missing or nothing matches.
    """

    def look() -> list:
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise UserError(f"{root}: no such folder")
        paths = sorted(root.rglob(pattern), key=lambda path: (path.name, str(path)))
        if not paths:
            raise UserError(f"{root}: no file matches '{pattern}' in this folder or below it")
        stats = [path.stat() for path in paths]
        return [DataFile(str(p), s.st_size, s.st_mtime_ns) for p, s in zip(paths, stats)]

    files = distributed.on_root(look)
    distributed.raise_together(_seen_otherwise(files))
    return files


def _seen_otherwise(files: list) -> Optional[UserError]:
    """Whether this rank sees the first, middle and last file as rank 0 does."""
    for file in {files[0], files[len(files) // 2], files[-1]}:
        try:
            now = os.stat(file.path).st_size
        except OSError as error:
            now = error.strerror
        if now != file.bytes:
            return UserError(
                f"{file.path}: rank 0 sees {file.bytes} bytes, rank {distributed.rank()} on {socket.gethostname()} "
                f"{now}: the data must lie where all nodes see the same"
            )
    return None


def share(total: int, rank: int, size: int) -> tuple:
    """First and one past the last of `total` items that are this rank's: contiguous, and even to within one."""
    return rank * total // size, (rank + 1) * total // size


def training_order(
    files: int, per_file: int, *, seed: int, epoch: int, rank: int, size: int, fixed_share: bool, window: int
) -> np.ndarray:
    """A rank's samples of one epoch in the order of use, [n, 2] as (file, sample in file).

    fixed_share: a rank keeps the same files in every epoch (so that it can cache them); else they are dealt out anew.
    window: so many files' samples are mixed.
    """
    deal = np.random.Generator(np.random.PCG64([seed, 0 if fixed_share else epoch + 1]))
    sequence = np.repeat(deal.permutation(files), per_file)
    first, last = share(len(sequence), rank, size)
    samples = np.stack([sequence, np.tile(np.arange(per_file), files)], axis=1)[first:last]
    mix = np.random.Generator(np.random.PCG64([seed, epoch, rank, size]))
    own_files = mix.permutation(np.unique(samples[:, 0]))
    window = window if per_file > 1 else max(files, 1)
    parts = []
    for start in range(0, len(own_files), window):
        parts.append(mix.permutation(samples[np.isin(samples[:, 0], own_files[start : start + window])]))
    return np.concatenate(parts) if parts else samples


def evaluation_order(files: int, per_file: int, rank: int, size: int) -> np.ndarray:
    """A rank's samples for evaluation, [n, 2]: over all ranks every sample once, in file order."""
    first, last = share(files * per_file, rank, size)
    return np.stack(np.divmod(np.arange(first, last), per_file), axis=1)


class FileCache:
    """Decoded files by path. Each is read once, in one of `threads`, when it is first requested."""

    def __init__(
        self,
        read: Callable[[str], Arrays],
        keep: Optional[int],
        folder: Optional[Path] = None,
        threads: Optional[ThreadPoolExecutor] = None,
    ):
        """keep: most recently used files held in memory, None for all. folder: keep decoded arrays on disk there."""
        self._read, self._keep, self._folder = read, keep, folder
        self._entries: OrderedDict = OrderedDict()
        self._lock = threading.Lock()
        self._threads = threads or ThreadPoolExecutor(2, thread_name_prefix="read")

    def request(self, file: DataFile) -> Future:
        """Begin to read a file unless it is there or on its way; does not wait."""
        with self._lock:
            future = self._entries.get(file.path)
            # A read that failed is tried again: a file system may have recovered.
            if future is None or (future.done() and future.exception() is not None):
                future = self._entries[file.path] = self._threads.submit(self._load, file)
            self._entries.move_to_end(file.path)
            while self._keep is not None and len(self._entries) > self._keep:
                self._entries.popitem(last=False)
        return future

    def get(self, file: DataFile) -> Arrays:
        """A file's arrays, read now if they are not there. Raises what reading raised."""
        return self.request(file).result()

    def _load(self, file: DataFile) -> Arrays:
        if self._folder is None:
            file.check()
            return self._read(file.path)
        key = hashlib.sha256(f"{file.path} {file.bytes} {file.modified_ns}".encode()).hexdigest()[:24]
        if not (self._folder / f"{key}.done").exists():
            file.check()
            self._store(key, self._read(file.path))
        names = sorted(self._folder.glob(f"{key}.*.npy"))
        return tuple(np.load(name, mmap_mode="r") for name in names)

    def _store(self, key: str, arrays: Arrays) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for number, array in enumerate(arrays):
                np.save(self._folder / f"{key}.{number:02d}.npy", array)
            (self._folder / f"{key}.done").touch()
        except OSError as error:
            raise UserError(f"{self._folder}: the disk cache cannot be written ({error.strerror})") from error


class Batches:
    """Batches of one rank, by number, and as a tf.data.Dataset.

    read: decodes a file into arrays [samples_per_file, ...], one for each entry of `spec`, which gives the shape of
        one sample and the type.
    read_in_graph: does the same for a staged sample with TensorFlow operations alone, from a path (scalar string) to
        a tuple of tensors; it takes the place of `read`, and no Python runs while data is read.
    fixed_share: a rank keeps the same files in every epoch; a cache of its own implies it.
    """

    def __init__(
        self,
        files: list,
        read: Optional[Read],
        spec: list,
        samples_per_file: int,
        batch_size: int,
        training: bool,
        seed: int = 0,
        settings: Optional[CacheSettings] = None,
        threads: int = 2,
        read_in_graph: Optional[Callable[[tf.Tensor], tuple]] = None,
        fixed_share: bool = False,
    ):
        settings = settings or CacheSettings()
        rank, size = distributed.rank(), distributed.size()
        self.files, self.spec, self.batch_size, self.training = files, spec, batch_size, training
        self.samples = len(files) * samples_per_file  # over all ranks
        self._read, self._read_in_graph = read, read_in_graph
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._cache = self._make_cache(settings, samples_per_file)
        self.failure: Optional[BaseException] = None
        self._asked = deque(maxlen=16 * batch_size)  # more than are read ahead

        @lru_cache(maxsize=4)
        def order(epoch: int) -> np.ndarray:
            if not training:
                return evaluation_order(len(files), samples_per_file, rank, size)
            return training_order(
                len(files),
                samples_per_file,
                seed=seed,
                epoch=epoch,
                rank=rank,
                size=size,
                fixed_share=fixed_share or settings.cache != "none",
                # What is all in memory can be mixed over all files at no cost.
                window=len(files) if settings.cache == "memory" else settings.shuffle_files,
            )

        self._order = order
        if training:
            self.steps_per_epoch = self.samples // (batch_size * size)
            if self.steps_per_epoch == 0:
                raise UserError(
                    f"{self.samples} training samples ({len(files)} files) do not fill one global batch of "
                    f"{batch_size * size} ({size} ranks x {batch_size}): use a smaller batch or fewer ranks",
                    on_all_ranks=True,
                )
        else:
            self.steps_per_epoch = -(-len(order(0)) // batch_size)

    def _make_cache(self, settings: CacheSettings, samples_per_file: int) -> Optional[FileCache]:
        """None where files of one sample are decoded straight into the batch."""
        if samples_per_file == 1 and settings.cache == "none":
            return None
        # Files are read this many batches ahead of their use: one window, so that the next is there in time.
        window = settings.shuffle_files * samples_per_file if samples_per_file > 1 else 2 * self.batch_size
        self._batches_ahead = -(-window // self.batch_size)
        keep = None if settings.cache == "memory" else 2 * (window // samples_per_file) + 2
        folder = Path(settings.cache_dir or tempfile.gettempdir()) / f"samples-rank{distributed.rank()}"
        return FileCache(
            lambda path: self._decode(path, samples_per_file),
            keep,
            folder if settings.cache == "disk" else None,
            self._threads,
        )

    def own_files(self) -> list:
        """The files of this rank's share, in the order of their first use (with a fixed share, of all epochs)."""
        return [self.files[number] for number in dict.fromkeys(self._order(0)[:, 0].tolist())]

    def _decode(self, path: str, samples_per_file: int) -> Arrays:
        arrays = tuple(pool.empty((samples_per_file, *shape), dtype) for shape, dtype in self.spec)
        self._read(path, arrays)
        return arrays

    def _wanted(self, number: int, batches: int = 1) -> np.ndarray:
        """(file, sample in file) of the samples of batch `number` and of those after it in its epoch."""
        epoch, step = divmod(int(number), self.steps_per_epoch)
        return self._order(epoch)[step * self.batch_size : (step + batches) * self.batch_size]

    def load(self, number: int) -> Arrays:
        """Batch `number`, counted from 0 over all epochs."""
        if self._read_in_graph is not None:
            return tuple(array.numpy() for array in next(iter(self.dataset(number, number + 1))))
        wanted = self._wanted(number)
        batch = tuple(pool.empty((len(wanted), *shape), dtype) for shape, dtype in self.spec)
        if self._cache is None:
            places = [tuple(array[row : row + 1] for array in batch) for row in range(len(wanted))]
            list(self._threads.map(self._read_checked, [self.files[file] for file in wanted[:, 0]], places))
            return batch
        ahead = self._wanted(number, 1 + self._batches_ahead)[:, 0]
        for file in dict.fromkeys(ahead.tolist()):  # in order of use, each once
            self._cache.request(self.files[file])
        for row, (file, sample) in enumerate(wanted):
            for target, source in zip(batch, self._cache.get(self.files[file])):
                target[row] = source[sample]
        return batch

    def _read_checked(self, file: DataFile, arrays: Arrays) -> None:
        file.check()
        self._read(file.path, arrays)

    def _load_or_note(self, number) -> Arrays:
        try:
            return self.load(number)
        except BaseException as error:
            # TensorFlow passes only text on; the training loop raises this again as it was.
            self.failure = self.failure or error
            raise

    def problem(self, error: tf.errors.OpError) -> BaseException:
        """What a failure of the dataset was about: the error that reading raised, or TensorFlow's own."""
        if self.failure is not None:
            return self.failure
        for path in list(self._asked):  # TensorFlow does not always name the file
            try:
                self._read_in_graph(tf.constant(path))
            except tf.errors.OpError as found:
                name, reason = path.decode(), found.message.split("}} ")[-1].split(" [Op:")[0]
                return UserError(
                    f"{name}: the staged sample cannot be read ({reason}): delete {name}.*, stage it again"
                )
        return error

    def dataset(self, first: int = 0, last: Optional[int] = None, parallel: int = 2) -> tf.data.Dataset:
        """Batches first ... last - 1 (by default one epoch), read `parallel` at a time, in order."""
        last = self.steps_per_epoch if last is None else last
        size = self.batch_size if self.training else None
        types = [tf.as_dtype(dtype) for _, dtype in self.spec]

        def read(number):
            return tf.numpy_function(self._load_or_note, [number], types)

        def read_in_graph(number):
            paths = tf.numpy_function(self._paths, [number], tf.string)
            if self.batch_size == 1:  # stacking would copy
                return [tf.expand_dims(array, 0) for array in self._read_in_graph(tf.reshape(paths, []))]
            return tf.map_fn(self._read_in_graph, paths, parallel_iterations=4, fn_output_signature=tuple(types))

        def shaped(arrays):
            return tuple(tf.ensure_shape(array, (size, *shape)) for array, (shape, _) in zip(arrays, self.spec))

        load = read if self._read_in_graph is None else read_in_graph
        # deterministic: batches come in order however long each read takes, or runs could not be compared.
        dataset = tf.data.Dataset.range(first, last).map(
            lambda number: shaped(load(number)), num_parallel_calls=parallel, deterministic=True
        )
        return dataset.prefetch(2)

    def _paths(self, number) -> np.ndarray:
        paths = [self.files[file].path.encode() for file in self._wanted(number)[:, 0]]
        self._asked.extend(paths)
        return np.array(paths, object)

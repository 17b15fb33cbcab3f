"""Sources of a batch's arrays: three ways of reading behind one protocol.

FileSource    files of one sample, each decoded directly into the batch
CachedSource  files that are decoded as a whole and kept, for some time or to the end of the run (common.data.cache)
GraphSource   files that are read by TensorFlow's own operations, without Python
"""

from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, NamedTuple, Optional, Protocol

import numpy as np
import tensorflow as tf

from common.data.buffers import pool
from common.data.cache import Arrays, FileCache
from common.data.files import DataFile
from common.errors import UserError, reason


class ArraySpec(NamedTuple):
    """An array of one sample."""

    shape: tuple[int, ...]  # without the batch dimension
    dtype: Any  # as numpy.dtype takes it


class FileFormat(NamedTuple):
    """How a file is decoded.

    Attributes:
        read: read(path, out) decodes a file into arrays [samples_per_file, ...], one for each of `arrays`.
        arrays: shape and type of each array of a sample.
        samples_per_file: number of samples in each file.
    """

    read: Callable[[str, Arrays], object]
    arrays: tuple[ArraySpec, ...]
    samples_per_file: int = 1

    def empty(self, samples: int) -> Arrays:
        """Return uninitialised arrays [samples, ...]."""
        return tuple(pool.empty((samples, *spec.shape), spec.dtype) for spec in self.arrays)


# samples(number, batches): the samples of `batches` batches from `number` on, [n, 2] as (file, sample in file).
Samples = Callable[[int, int], np.ndarray]


class Source(Protocol):
    """Reads batches, by their numbers, for a tf.data pipeline."""

    arrays: tuple[ArraySpec, ...]

    def operation(self, samples: Samples) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
        """Return a function for use in a graph, from a batch's number (scalar int64) to its arrays [batch, ...]."""
        ...

    def problem(self, error: tf.errors.OpError) -> BaseException:
        """Return the cause of an error of that function: a UserError that names the file, if it can be found."""
        ...


class _PythonSource(ABC):
    """Base class of FileSource and CachedSource, which read in Python, in tf.numpy_function."""

    def __init__(self, files: list[DataFile], form: FileFormat, threads: ThreadPoolExecutor):
        self._files, self._form, self._threads = files, form, threads
        self.arrays = form.arrays
        self._failure: Optional[BaseException] = None

    @abstractmethod
    def load(self, samples: Samples, number: int) -> Arrays:
        """Return the arrays of batch `number`, [batch, ...]."""

    def operation(self, samples: Samples) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
        types = [tf.as_dtype(spec.dtype) for spec in self.arrays]

        def load(number) -> Arrays:
            try:
                return self.load(samples, int(number))
            except BaseException as error:
                # TensorFlow passes on only the text; the training loop raises this exception itself again.
                self._failure = self._failure or error
                raise

        return lambda number: tuple(tf.numpy_function(load, [number], types))

    def problem(self, error: tf.errors.OpError) -> BaseException:
        failure, self._failure = self._failure, None
        return failure or error


class FileSource(_PythonSource):
    """Files of one sample, decoded directly into the batch by several threads."""

    def load(self, samples: Samples, number: int) -> Arrays:
        in_batch = samples(number, 1)
        batch = self._form.empty(len(in_batch))
        rows = [tuple(array[row : row + 1] for array in batch) for row in range(len(in_batch))]
        list(self._threads.map(self._read, [self._files[file] for file in in_batch[:, 0]], rows))
        return batch

    def _read(self, file: DataFile, arrays: Arrays) -> None:
        file.check()
        self._form.read(file.path, arrays)


class CachedSource(_PythonSource):
    """Samples from cached files; the files of the next `batches_ahead` batches are requested in advance."""

    def __init__(
        self,
        files: list[DataFile],
        form: FileFormat,
        threads: ThreadPoolExecutor,
        cache: FileCache,
        batches_ahead: int,
    ):
        super().__init__(files, form, threads)
        self._cache, self._batches_ahead = cache, batches_ahead

    def load(self, samples: Samples, number: int) -> Arrays:
        in_batch = samples(number, 1)
        batch = self._form.empty(len(in_batch))
        ahead = samples(number, 1 + self._batches_ahead)[:, 0]
        for file in dict.fromkeys(ahead.tolist()):  # in order of use, each once
            self._cache.request(self._files[file])
        for row, (file, sample) in enumerate(in_batch):
            for target, source in zip(batch, self._cache.get(self._files[file])):
                target[row] = source[sample]
        return batch


class GraphSource:
    """Files of one sample that TensorFlow's operations read."""

    def __init__(
        self, files: list[DataFile], arrays: tuple[ArraySpec, ...], read: Callable[[tf.Tensor], tuple], remedy: str
    ):
        """Create the source.

        Args:
            files: the data set's files.
            arrays: shape and type of each array of a sample.
            read: function for use in a graph, from a path (scalar string) to a sample's arrays.
            remedy: what to do about a file that cannot be read, with {path} for its path; for the message.
        """
        self._files, self._read, self._remedy = files, read, remedy
        self.arrays = arrays
        # More paths than are read ahead: TensorFlow does not always name the file that it failed on.
        self._recent: deque[bytes] = deque(maxlen=256)

    def operation(self, samples: Samples) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
        types = tuple(tf.as_dtype(spec.dtype) for spec in self.arrays)

        def paths(number) -> np.ndarray:
            in_batch = [self._files[file].path.encode() for file in samples(int(number), 1)[:, 0]]
            self._recent.extend(in_batch)
            return np.array(in_batch, object)

        def load(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            names = tf.numpy_function(paths, [number], tf.string)
            if len(samples(0, 1)) == 1:  # stacking would copy
                return tuple(tf.expand_dims(array, 0) for array in self._read(tf.reshape(names, [])))
            return tuple(tf.map_fn(self._read, names, parallel_iterations=4, fn_output_signature=types))

        return load

    def problem(self, error: tf.errors.OpError) -> BaseException:
        for path in list(self._recent):
            try:
                self._read(tf.constant(path))
            except tf.errors.OpError as failure:
                return UserError(
                    f"{path.decode()}: cannot be read ({reason(failure)}): {self._remedy.format(path=path.decode())}"
                )
        return error

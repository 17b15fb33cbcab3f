"""Where a batch's arrays come from: three ways of reading behind one protocol.

FileSource    files of one sample, each decoded straight into its place in the batch
CachedSource  files that are decoded as a whole and kept for a while, or for good (common.data.cache)
GraphSource   files that TensorFlow's own operations read, without Python
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
    """Shape of one sample's array, without the batch, and its type."""

    shape: tuple[int, ...]
    dtype: Any  # what numpy.dtype takes


class FileFormat(NamedTuple):
    """How a file is decoded. read(path, out) fills arrays [samples_per_file, ...], one for each of `arrays`."""

    read: Callable[[str, Arrays], object]
    arrays: tuple[ArraySpec, ...]
    samples_per_file: int = 1

    def empty(self, samples: int) -> Arrays:
        """Arrays for so many samples, to be filled."""
        return tuple(pool.empty((samples, *spec.shape), spec.dtype) for spec in self.arrays)


# Of a batch's number, and of so many batches from it on in its epoch: the samples, [n, 2] as (file, sample in file).
Samples = Callable[[int, int], np.ndarray]


class Source(Protocol):
    """Gives batches by number to a tf.data pipeline."""

    arrays: tuple[ArraySpec, ...]

    def operation(self, samples: Samples) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
        """From a batch's number (scalar int64) to its arrays, inside a graph."""
        ...

    def problem(self, error: tf.errors.OpError) -> BaseException:
        """What a failure of that operation was about: a UserError that names the file, if it can be found."""
        ...


class _PythonSource(ABC):
    """What FileSource and CachedSource share: reading in Python, inside tf.numpy_function."""

    def __init__(self, files: list[DataFile], form: FileFormat, threads: ThreadPoolExecutor):
        self._files, self._form, self._threads = files, form, threads
        self.arrays = form.arrays
        self._failure: Optional[BaseException] = None

    @abstractmethod
    def load(self, samples: Samples, number: int) -> Arrays:
        """The arrays of batch `number`."""

    def operation(self, samples: Samples) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
        types = [tf.as_dtype(spec.dtype) for spec in self.arrays]

        def load(number) -> Arrays:
            try:
                return self.load(samples, int(number))
            except BaseException as error:
                # TensorFlow passes only text on; the training loop raises this again as it was.
                self._failure = self._failure or error
                raise

        return lambda number: tuple(tf.numpy_function(load, [number], types))

    def problem(self, error: tf.errors.OpError) -> BaseException:
        failure, self._failure = self._failure, None
        return failure or error


class FileSource(_PythonSource):
    """Files of one sample, decoded straight into the batch by several threads."""

    def load(self, samples: Samples, number: int) -> Arrays:
        wanted = samples(number, 1)
        batch = self._form.empty(len(wanted))
        rows = [tuple(array[row : row + 1] for array in batch) for row in range(len(wanted))]
        list(self._threads.map(self._read, [self._files[file] for file in wanted[:, 0]], rows))
        return batch

    def _read(self, file: DataFile, arrays: Arrays) -> None:
        file.check()
        self._form.read(file.path, arrays)


class CachedSource(_PythonSource):
    """Samples out of decoded files; those of the next `batches_ahead` batches are requested beforehand."""

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
        wanted = samples(number, 1)
        batch = self._form.empty(len(wanted))
        ahead = samples(number, 1 + self._batches_ahead)[:, 0]
        for file in dict.fromkeys(ahead.tolist()):  # in order of use, each once
            self._cache.request(self._files[file])
        for row, (file, sample) in enumerate(wanted):
            for target, source in zip(batch, self._cache.get(self._files[file])):
                target[row] = source[sample]
        return batch


class GraphSource:
    """Files of one sample that TensorFlow's operations read: `read` takes a path (scalar string) to its arrays."""

    def __init__(
        self, files: list[DataFile], arrays: tuple[ArraySpec, ...], read: Callable[[tf.Tensor], tuple], remedy: str
    ):
        """remedy: what to do about a file that cannot be read, with {path} for it."""
        self._files, self._read, self._remedy = files, read, remedy
        self.arrays = arrays
        # More than are read ahead: TensorFlow does not always name the file that it failed on.
        self._asked: deque[bytes] = deque(maxlen=256)

    def operation(self, samples: Samples) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
        types = tuple(tf.as_dtype(spec.dtype) for spec in self.arrays)

        def paths(number) -> np.ndarray:
            found = [self._files[file].path.encode() for file in samples(int(number), 1)[:, 0]]
            self._asked.extend(found)
            return np.array(found, object)

        def load(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            names = tf.numpy_function(paths, [number], tf.string)
            if len(samples(0, 1)) == 1:  # stacking would copy
                return tuple(tf.expand_dims(array, 0) for array in self._read(tf.reshape(names, [])))
            return tuple(tf.map_fn(self._read, names, parallel_iterations=4, fn_output_signature=types))

        return load

    def problem(self, error: tf.errors.OpError) -> BaseException:
        for path in list(self._asked):
            try:
                self._read(tf.constant(path))
            except tf.errors.OpError as found:
                return UserError(
                    f"{path.decode()}: cannot be read ({reason(found)}): {self._remedy.format(path=path.decode())}"
                )
        return error

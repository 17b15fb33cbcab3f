"""Staging: each rank's share of the samples in a node-local folder, in a format that TensorFlow reads without Python.

A staged sample is a TensorFlow checkpoint (NAME.index and NAME.data-00000-of-00001) of the normalised `fields`
[height, width, channels] float16 or float32 and the `labels` [height, width] uint8. TensorFlow reads it straight into
a tensor and verifies a checksum, three times as fast as tf.io.read_file and tf.io.decode_raw, which copy everything
twice into fresh memory (`make bench`, row "reading staged samples").

Its name ends in a checksum of everything that it depends on (source file with size and time, channels, normalisation,
type): a stale file is never taken for a fresh one, and one that exists is not made again. float16 suffices for
normalised fields: they lie in 0 to 1, where its steps are at most 5e-4.
"""

import hashlib
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

import numpy as np
import tensorflow as tf

from common import distributed
from common.data.batches import Batches
from common.data.buffers import pool
from common.data.files import DataFile
from common.data.order import EvaluationOrder, Order, TrainingOrder, as_begun
from common.data.sources import ArraySpec, GraphSource
from common.errors import UserError, storage_problem
from tf_deepcam.config import DataSettings
from tf_deepcam.data.samples import Reader

_NAMES = ["fields", "labels"]
_SUFFIXES = (".data-00000-of-00001", ".index")  # in the order in which the files are renamed


def _index(path: str) -> Path:
    return Path(path + ".index")


def read_in_graph(shape: tuple, dtype: np.dtype) -> Callable[[tf.Tensor], tuple]:
    """Return a function from a staged sample's path to its fields of `shape` and labels, of TensorFlow operations."""

    def read(path: tf.Tensor) -> tuple:
        fields, labels = tf.raw_ops.RestoreV2(
            prefix=path, tensor_names=_NAMES, shape_and_slices=["", ""], dtypes=[dtype, tf.uint8]
        )
        return tf.ensure_shape(fields, shape), tf.ensure_shape(labels, shape[:2])

    return read


def staged_form(path: str) -> tuple:
    """Read ((height, width, channels), type) of a staged sample's fields.

    Args:
        path: of the sample, without suffixes.

    Raises:
        UserError: if it is not a staged sample.
    """
    try:
        checkpoint = tf.train.load_checkpoint(path)
        return tuple(checkpoint.get_variable_to_shape_map()["fields"]), checkpoint.get_variable_to_dtype_map()["fields"]
    except (tf.errors.OpError, ValueError, KeyError) as error:
        raise UserError(f"{path}: is not a staged sample ({error})") from error


class Staging:
    """The staging folder: writes samples to it, and makes batches of them."""

    def __init__(self, settings: DataSettings, shape: tuple, reader: Reader, began_on: int = 0):
        """Prepare staging; writes nothing yet.

        Args:
            settings: folder, type and number of copies.
            shape: (height, width, channels) of a sample.
            reader: reads the samples to stage.
            began_on: number of ranks that the run began on; 0 is the present number.

        Raises:
            UserError: if data.stage_copies does not divide that number.
        """
        self.folder = Path(settings.stage_dir).expanduser()
        self.dtype: np.dtype = np.dtype(settings.stage_dtype)
        self._shape, self._reader, self._copies = shape, reader, settings.stage_copies
        self._began_on = began_on or distributed.size()
        if self._began_on % self._copies:
            raise UserError(
                f"data.stage_copies {self._copies} does not divide the {self._began_on} ranks: use a divisor",
                on_all_ranks=True,
            )
        self.bytes = int(np.prod(shape)) * self.dtype.itemsize + shape[0] * shape[1]
        self._recipe = f"{shape} {self.dtype} {reader.key}"

    def staged_file(self, source: DataFile) -> DataFile:
        """Return the staged sample of a source file (its `path` without suffixes), whether or not it exists yet."""
        text = f"{source.path} {source.bytes} {source.modified_ns} {self._recipe}"
        name = f"{Path(source.path).stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.{self.dtype}"
        return DataFile(str(self.folder / name), self.bytes, 0)

    def own_share(self, batches: Batches) -> list[int]:
        """Return the numbers of the files of staged batches that this rank has to stage. A collective call.

        Ranks of a node that hold the same files divide them among themselves.
        """
        files = sorted(batches.held_files())
        held = (socket.gethostname(), hashlib.sha256(str(files).encode()).hexdigest())
        peers = [rank for rank, other in enumerate(distributed.gather_objects(held)) if other == held]
        return files[peers.index(distributed.rank()) :: len(peers)]

    def stage(self, sources: list, threads: int) -> int:
        """Stage those of this rank's `sources` that are not staged yet; return how many. A collective call.

        A sample's index is renamed last, when everything else is complete. Sources are only read.

        Raises:
            UserError: on every rank if the folder cannot be written or has no room for the samples of all ranks of the
                node, or if a source is bad.
        """
        self._clean()
        missing = [source for source in sources if not _index(self.staged_file(source).path).is_file()]
        distributed.raise_together(self._check_room(len(missing) * self.bytes))
        problem = None
        with ThreadPoolExecutor(threads) as workers:
            try:
                list(workers.map(self._write, missing))
            except UserError as error:
                workers.shutdown(cancel_futures=True)
                problem = error
        distributed.raise_together(problem)
        return len(missing)

    def _clean(self) -> None:
        """Remove the temporary files of processes that no longer exist: of a staging that was killed."""
        if distributed.local_rank() == 0:
            for temporary in self.folder.glob("*.*.tmp*"):
                process = temporary.name.split(".tmp")[0].rsplit(".", 1)[-1]
                if process.isdigit() and not Path(f"/proc/{process}").exists():
                    temporary.unlink(missing_ok=True)

    def _check_room(self, needed: int):
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free, problem = shutil.disk_usage(self.folder).free, None
        except OSError as error:
            free, problem = 0, UserError(f"{self.folder}: the staging folder cannot be created ({error.strerror})")
        host = socket.gethostname()
        node = sum(bytes_ for name, bytes_ in distributed.gather_objects((host, needed)) if name == host)
        if problem is None and node > free:
            problem = UserError(
                f"{self.folder} on {host}: {node / 2**30:.1f} GiB are to be staged, {free / 2**30:.1f} GiB are free: "
                "choose another data.stage_dir, more nodes, or data.stage_dtype float16"
            )
        return problem

    def _write(self, source: DataFile) -> None:
        source.check()
        target = self.staged_file(source).path
        fields = pool.empty((1, *self._shape), np.float32)
        labels = pool.empty((1, *self._shape[:2]), np.uint8)
        self._reader(source.path, (fields, labels))
        temporary = f"{target}.{os.getpid()}.tmp"
        try:
            tensors = [fields[0].astype(self.dtype, copy=False), labels[0]]
            tf.raw_ops.SaveV2(prefix=temporary, tensor_names=_NAMES, shape_and_slices=["", ""], tensors=tensors)
            for suffix in _SUFFIXES:
                os.replace(temporary + suffix, target + suffix)
        except (OSError, tf.errors.OpError) as error:
            problem = storage_problem(error, self.folder, self.bytes)
            raise UserError(f"{target}: cannot be staged ({problem}); the source is unchanged") from error
        finally:
            for leftover in self.folder.glob(f"{Path(temporary).name}*"):
                leftover.unlink()

    def batches(self, source: Batches, *, seed: int) -> Batches:
        """Make batches like `source` of the staged files; each rank keeps its share in every epoch."""
        files = [self.staged_file(file) for file in source.files]
        rank, size = distributed.rank(), distributed.size()
        order: Order
        if source.training:
            own = TrainingOrder(len(files), 1, seed, rank, size, 1, fixed_share=True, copies=self._copies)
            order = as_begun(own, self._began_on, source.batch_size).order
        else:
            order = EvaluationOrder(len(files), 1, rank, size)
        return Batches(files, staged_source(files, self._shape, self.dtype), order, source.batch_size, source.training)


def staged_source(files: list[DataFile], shape: tuple[int, int, int], dtype: np.dtype) -> GraphSource:
    """Make the source that reads staged samples of this shape (height, width, channels) and type of fields."""
    arrays = (ArraySpec(shape, dtype), ArraySpec(shape[:2], np.uint8))
    return GraphSource(files, arrays, read_in_graph(shape, dtype), "delete {path}.*, stage it again")

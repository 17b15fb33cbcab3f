"""Each rank's share of the samples on a node-local folder, in a form that TensorFlow reads without Python.

A staged sample is a TensorFlow checkpoint (NAME.index and NAME.data-00000-of-00001) of the normalised `fields`
[height, width, channels] float16 or float32 and the `labels` [height, width] uint8. TensorFlow reads that straight into
a tensor and checks a checksum, three times as fast as tf.io.read_file and tf.io.decode_raw, which copy everything twice
into fresh memory (`make bench`, row "reading staged samples").

Its name ends in a checksum of everything that it depends on (source file with size and time, channels, normalisation,
type), so that a stale file is never taken for a fresh one, and what is there already is not made again. Half precision:
normalised fields lie in 0 to 1, where float16 has steps of 5e-4 at most.
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
_ENDINGS = (".data-00000-of-00001", ".index")  # in the order in which they take their names


def _index(path: str) -> Path:
    return Path(path + ".index")


def read_in_graph(shape: tuple, dtype: np.dtype) -> Callable[[tf.Tensor], tuple]:
    """Reads a staged sample with TensorFlow operations alone: path to fields of `shape` and labels uint8."""

    def read(path: tf.Tensor) -> tuple:
        fields, labels = tf.raw_ops.RestoreV2(
            prefix=path, tensor_names=_NAMES, shape_and_slices=["", ""], dtypes=[dtype, tf.uint8]
        )
        return tf.ensure_shape(fields, shape), tf.ensure_shape(labels, shape[:2])

    return read


def staged_form(path: str) -> tuple:
    """((height, width, channels), type) of a staged sample, given by its path without endings. Raises UserError."""
    try:
        found = tf.train.load_checkpoint(path)
        return tuple(found.get_variable_to_shape_map()["fields"]), found.get_variable_to_dtype_map()["fields"]
    except (tf.errors.OpError, ValueError, KeyError) as error:
        raise UserError(f"{path}: is not a staged sample ({error})") from error


class Staging:
    """Where samples are staged, and how they get there and back."""

    def __init__(self, settings: DataSettings, shape: tuple, reader: Reader, began_on: int = 0):
        """shape: (height, width, channels). began_on: as common.data.batches.training_batches takes it."""
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

    def place(self, source: DataFile) -> DataFile:
        """The staged sample of a source file (its `path` without the endings), whether it is there yet or not."""
        text = f"{source.path} {source.bytes} {source.modified_ns} {self._recipe}"
        name = f"{Path(source.path).stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.{self.dtype}"
        return DataFile(str(self.folder / name), self.bytes, 0)

    def own_share(self, batches: Batches) -> list[int]:
        """Which files of staged batches, by number, are this rank's to stage: ranks of a node that hold the same ones
        share them out. A collective call."""
        files = sorted(batches.held_files())
        holds = (socket.gethostname(), hashlib.sha256(str(files).encode()).hexdigest())
        peers = [rank for rank, other in enumerate(distributed.gather_objects(holds)) if other == holds]
        return files[peers.index(distributed.rank()) :: len(peers)]

    def stage(self, sources: list, threads: int) -> int:
        """Make the staged files of this rank's `sources` that are missing; returns how many. A collective call.

        Raises UserError on every rank if the folder cannot be written, has no room for what all ranks of the node
        bring, or a source is bad. The index takes its name last, when all is whole; sources are only read.
        """
        self._clean()
        missing = [source for source in sources if not _index(self.place(source).path).is_file()]
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
        """Remove what a staging that was killed has left: temporary files of processes that are no more."""
        if distributed.local_rank() == 0:
            for left in self.folder.glob("*.*.tmp*"):
                number = left.name.split(".tmp")[0].rsplit(".", 1)[-1]
                if number.isdigit() and not Path(f"/proc/{number}").exists():
                    left.unlink(missing_ok=True)

    def _check_room(self, needed: int):
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free, problem = shutil.disk_usage(self.folder).free, None
        except OSError as error:
            free, problem = 0, UserError(f"{self.folder}: the staging folder cannot be made ({error.strerror})")
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
        target = self.place(source).path
        fields = pool.empty((1, *self._shape), np.float32)
        labels = pool.empty((1, *self._shape[:2]), np.uint8)
        self._reader(source.path, (fields, labels))
        temporary = f"{target}.{os.getpid()}.tmp"
        try:
            tensors = [fields[0].astype(self.dtype, copy=False), labels[0]]
            tf.raw_ops.SaveV2(prefix=temporary, tensor_names=_NAMES, shape_and_slices=["", ""], tensors=tensors)
            for ending in _ENDINGS:
                os.replace(temporary + ending, target + ending)
        except (OSError, tf.errors.OpError) as error:
            problem = storage_problem(error, self.folder, self.bytes)
            raise UserError(f"{target}: cannot be staged ({problem}); the source is as it was") from error
        finally:
            for left in self.folder.glob(f"{Path(temporary).name}*"):
                left.unlink()

    def batches(self, source: Batches, *, seed: int) -> Batches:
        """Batches like `source`, of staged files; each rank keeps its share in every epoch."""
        files = [self.place(file) for file in source.files]
        rank, size = distributed.rank(), distributed.size()
        order: Order
        if source.training:
            own = TrainingOrder(len(files), 1, seed, rank, size, 1, fixed_share=True, copies=self._copies)
            order = as_begun(own, self._began_on, source.batch_size).order
        else:
            order = EvaluationOrder(len(files), 1, rank, size)
        return Batches(files, staged_source(files, self._shape, self.dtype), order, source.batch_size, source.training)


def staged_source(files: list[DataFile], shape: tuple[int, int, int], dtype: np.dtype) -> GraphSource:
    """What reads staged samples of this shape (height, width, channels) and type of fields."""
    arrays = (ArraySpec(shape, dtype), ArraySpec(shape[:2], np.uint8))
    return GraphSource(files, arrays, read_in_graph(shape, dtype), "delete {path}.*, stage it again")

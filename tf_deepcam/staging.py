"""Each rank's share of the samples on a node-local folder, in a form that TensorFlow reads without Python.

A staged sample is one file: the normalised fields [height, width, channels] as float16 or float32, then the labels
[height, width] as uint8, no header. Its name ends in a checksum of everything that it depends on (source file with
size and time, channels, normalisation, type), so that a stale file is never taken for a fresh one, and what is there
already is not made again. Half precision: normalised fields lie in 0 to 1, where float16 has steps of 5e-4 at most.
"""

import hashlib
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from common import distributed
from common.buffers import pool
from common.errors import UserError
from common.pipeline import Batches, DataFile
from tf_deepcam.config import DataSettings
from tf_deepcam.data import Reader


class Staging:
    """Where samples are staged, and how they get there and back."""

    def __init__(self, settings: DataSettings, shape: tuple, reader: Reader):
        """shape: (height, width, channels)."""
        self.folder = Path(settings.stage_dir).expanduser()
        self.dtype = np.dtype(settings.stage_dtype)
        self._shape, self._reader = shape, reader
        self._fields_bytes = int(np.prod(shape)) * self.dtype.itemsize
        self.bytes = self._fields_bytes + shape[0] * shape[1]
        self._recipe = f"{shape} {self.dtype} {reader.key}"

    def place(self, source: DataFile) -> DataFile:
        """The staged file of a source file, whether it is there yet or not."""
        text = f"{source.path} {source.bytes} {source.modified_ns} {self._recipe}"
        name = f"{Path(source.path).stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.{self.dtype}"
        return DataFile(str(self.folder / name), self.bytes, 0)

    def stage(self, sources: list, threads: int) -> int:
        """Make the staged files of this rank's `sources` that are missing; returns how many. A collective call.

        Raises UserError on every rank if the folder cannot be written, has no room for what all ranks of the node
        bring, or a source is bad. A file takes its name only when it is whole; sources are only read.
        """
        missing = [source for source in sources if not Path(self.place(source).path).is_file()]
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
        target = Path(self.place(source).path)
        fields = pool.empty((1, *self._shape), np.float32)
        labels = pool.empty((1, *self._shape[:2]), np.uint8)
        self._reader(source.path, (fields, labels))
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as file:
                file.write(memoryview(fields.astype(self.dtype, copy=False).reshape(-1).view(np.uint8)))
                file.write(memoryview(labels.reshape(-1)))
            os.replace(temporary, target)
        except OSError as error:
            raise UserError(f"{target}: cannot be staged ({error.strerror}); the source is as it was") from error
        finally:
            temporary.unlink(missing_ok=True)

    def read_in_graph(self, path: tf.Tensor) -> tuple:
        """(fields [height, width, channels], labels [height, width] uint8) with TensorFlow operations alone."""
        content = tf.io.decode_raw(tf.io.read_file(path), tf.uint8)
        whole = tf.debugging.Assert(
            tf.size(content) == self.bytes,
            [path, f"is not the {self.bytes} bytes that were staged: delete it, and it is staged again"],
        )
        with tf.control_dependencies([whole] if whole is not None else []):
            content = tf.identity(content)
        fields = tf.reshape(content[: self._fields_bytes], (*self._shape, self.dtype.itemsize))
        return tf.bitcast(fields, self.dtype), tf.reshape(content[self._fields_bytes :], self._shape[:2])

    def batches(self, source: Batches, seed: int) -> Batches:
        """Batches like `source`, of staged files; each rank keeps its share in every epoch."""
        height, width, _ = self._shape
        return Batches(
            [self.place(file) for file in source.files],
            None,
            [(self._shape, self.dtype), ((height, width), np.uint8)],
            1,
            source.batch_size,
            source.training,
            seed,
            read_in_graph=self.read_in_graph,
            fixed_share=True,
        )

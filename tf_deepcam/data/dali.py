"""Reading .npy samples with NVIDIA DALI, an optional package: `pip install nvidia-dali-cuda120` (Python 3.10 or newer).

On a CPU, DALI maps the files instead of copying them. With a GPU and DALI's plugin for TensorFlow, a separate package
(`nvidia-dali-tf-plugin-cuda120`), its reader runs on the GPU, through GPUDirect Storage where the machine has it, and
TensorFlow takes the samples from GPU memory. Without the plugin TensorFlow can take them from host memory only, so the
reader stays on the CPU and each batch is copied to the GPU once. On a CPU it was run and compared value for value with
the tf.data reader; the calls to DALI on a GPU are tested with a stand-in.
"""

import importlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from common import distributed
from common.data.order import share
from common.distributed.gpus import number
from common.errors import UserError
from tf_deepcam.config import CHANNELS
from tf_deepcam.data.formats import SampleSet, label_of


class DaliBatches:
    """This rank's share of the samples in order, with the part of common.data.batches.Batches that inference uses."""

    def __init__(self, source: SampleSet, batch_size: int, threads: int):
        """Raises UserError if DALI is not installed, or the samples are not .npy files of all channels."""
        self._dali = _installed()
        if source.form != "npy" or source.shape[-1] != CHANNELS:
            raise UserError(
                f"inference.reader: dali reads .npy samples of all {CHANNELS} channels, these are {source.form} of "
                f"{source.shape[-1]}: `python -m tf_deepcam convert` makes them, or set inference.reader: tfdata",
                on_all_ranks=True,
            )
        assert source.read is not None  # .npy samples have a reader
        self._normalisation = source.read.normalisation
        first, last = share(len(source.files), distributed.rank(), distributed.size())
        self._source, self._batch, self._threads = source, batch_size, threads
        self._own = source.files[first:last]
        self.samples = len(source.files)
        self._stream = self._build() if self._own else iter(())

    def own_files(self) -> list:
        """Return this rank's files, in order."""
        return self._own

    def problem(self, error: Exception) -> Exception:
        """Return the error unchanged."""
        return error

    def _build(self) -> Iterator:
        """Endless batches, pass after pass; the last one of a pass is filled up with repetitions."""
        gpus = tf.config.get_visible_devices("GPU")
        plugin = _plugin() if gpus else None
        if plugin is None:
            return _on_the_host(self._pipeline_on("cpu", None))
        # DALI numbers the GPUs that the process sees, like TensorFlow's physical devices; a local rank may differ.
        device_id = number(gpus[0].name)
        types = (tf.as_dtype(self._source.dtype), tf.uint8)
        shapes = ((None, *self._source.shape), (None, *self._source.shape[:2]))
        outputs = 2 if self._source.labels else 1
        with tf.device("/GPU:0"):  # TensorFlow numbers the GPUs that it may use from 0
            return iter(
                plugin.DALIDataset(
                    pipeline=self._pipeline_on("gpu", device_id),
                    output_dtypes=types[:outputs],
                    output_shapes=shapes[:outputs],
                    batch_size=self._batch,
                    num_threads=self._threads,
                    device_id=device_id,
                )
            )

    def _pipeline_on(self, device: str, device_id: Optional[int]) -> Any:
        fn, types = self._dali.fn, self._dali.types
        normalisation = self._normalisation

        @self._dali.pipeline_def(batch_size=self._batch, num_threads=self._threads, device_id=device_id)
        def define():
            files = [file.path for file in self._own]
            fields = fn.readers.numpy(device=device, files=files, name="fields", pad_last_batch=True)
            if self._source.dtype == np.float32:
                shift, scale = (
                    types.Constant(values, device=device) for values in (normalisation.shift, normalisation.scale)
                )
                fields = (fields - shift) * scale
            if not self._source.labels:
                return fields
            labels = fn.readers.numpy(device=device, files=[label_of(path) for path in files], pad_last_batch=True)
            return fields, labels

        return define()

    def dataset(self, parallel: int = 2) -> Iterator[tuple]:
        """Yield the batches of one pass as tuples of tensors."""
        starts = range(0, len(self._own), self._batch)
        for start, outputs in zip(starts, islice(self._stream, len(starts))):
            count = min(self._batch, len(self._own) - start)
            yield tuple(output[:count] for output in outputs)


def _on_the_host(pipeline: Any) -> Iterator[tuple]:
    pipeline.build()
    while True:
        yield tuple(tf.convert_to_tensor(output.as_array()) for output in pipeline.run())


def _plugin() -> Any:
    """DALI's TensorFlow plugin; None if it is not installed, or was built for another TensorFlow."""
    try:
        return importlib.import_module("nvidia.dali.plugin.tf")
    except (ImportError, tf.errors.NotFoundError):
        return None


def _installed():
    try:
        return importlib.import_module("nvidia.dali")
    except ImportError as error:
        raise UserError(
            f"inference.reader: dali needs NVIDIA DALI ({error}): pip install nvidia-dali-cuda120",
            on_all_ranks=True,
        ) from error

"""Reading .npy samples with NVIDIA DALI, an optional package: `pip install nvidia-dali-cuda120` (Python 3.10 or newer).

On a CPU DALI maps the files instead of copying them. With a GPU its reader runs there, through GPUDirect Storage
where the machine has it. Tested here on a CPU only, value for value against the tf.data reader.
"""

import importlib

import numpy as np
import tensorflow as tf

from common import distributed
from common.data.order import share
from common.errors import UserError
from tf_deepcam.config import CHANNELS
from tf_deepcam.data.formats import SampleSet, label_of


class DaliBatches:
    """What the inference benchmark needs of common.data.batches.Batches: this rank's share of the samples, in order."""

    def __init__(self, source: SampleSet, batch_size: int, threads: int):
        """Raises UserError if DALI is not installed, or the samples are not .npy files of all channels."""
        self._dali = _installed()
        if source.form != "npy" or source.shape[-1] != CHANNELS:
            raise UserError(
                f"inference.reader: dali reads .npy samples of all {CHANNELS} channels, these are {source.form} of "
                f"{source.shape[-1]}: `python -m tf_deepcam convert` makes them, or set inference.reader: tfdata",
                True,
            )
        assert source.read is not None  # as it is of .npy samples
        self._normalisation = source.read.normalisation
        first, last = share(len(source.files), distributed.rank(), distributed.size())
        self._source, self._batch, self._threads = source, batch_size, threads
        self._own = source.files[first:last]
        self.samples = len(source.files)
        self._pipeline = self._build() if self._own else None

    def own_files(self) -> list:
        return self._own

    def problem(self, error: Exception) -> Exception:
        return error

    def _build(self):
        fn, types = self._dali.fn, self._dali.types
        gpu = bool(tf.config.list_physical_devices("GPU"))
        device = "gpu" if gpu else "cpu"
        normalisation = self._normalisation

        @self._dali.pipeline_def(
            batch_size=self._batch, num_threads=self._threads, device_id=distributed.local_rank() if gpu else None
        )
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

        pipeline = define()
        pipeline.build()
        return pipeline

    def dataset(self, parallel: int = 2):
        """Batches as tuples of tensors, one pass."""
        if self._pipeline is None:
            return
        for start in range(0, len(self._own), self._batch):
            count = min(self._batch, len(self._own) - start)  # the last batch is filled up with repetitions
            yield tuple(tf.convert_to_tensor(_array(output)[:count]) for output in self._pipeline.run())


def _array(output) -> np.ndarray:
    output = output.as_cpu() if hasattr(output, "as_cpu") else output
    return output.as_array()


def _installed():
    try:
        return importlib.import_module("nvidia.dali")
    except ImportError as error:
        raise UserError(
            f"inference.reader: dali needs NVIDIA DALI ({error}): pip install nvidia-dali-cuda120", True
        ) from error

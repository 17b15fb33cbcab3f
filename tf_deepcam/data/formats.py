"""The inference benchmark's input: HDF5, .npy or staged samples, recognised by the files in a folder.

.npy: `data-NAME.npy` [height, width, channels] float32 as in the HDF5 file, or float16, which holds normalised fields
(pressures in Pa do not fit into float16), and `label-NAME.npy` [height, width] uint8. `python -m tf_deepcam convert`
writes them. Staged samples: tf_deepcam.data.staging.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from common import distributed
from common.data import hdf5, npy
from common.data.batches import Batches, Reading, evaluation_batches
from common.data.files import DataFile, list_files
from common.data.order import EvaluationOrder
from common.data.sources import ArraySpec, FileFormat
from common.errors import UserError
from tf_deepcam.config import CHANNELS
from tf_deepcam.data import samples, staging
from tf_deepcam.data.plausible import check_samples

_PATTERNS = {"hdf5": samples.PATTERN, "npy": "data-*.npy", "staged": "*.index"}


@dataclass(frozen=True)
class SampleSet:
    """Samples of one format."""

    form: str  # hdf5 | npy | staged
    files: list[DataFile]
    shape: tuple[int, int, int]  # height, width, channels
    dtype: np.dtype  # of the fields as they are read
    labels: bool  # whether there are any
    read: Optional[samples.Reader]  # None for staged ones, which TensorFlow reads

    def batches(self, batch_size: int, threads: int) -> Batches:
        """Make batches of fields and, if there are any, labels [height, width] uint8; every sample once over all ranks.

        Args:
            batch_size: samples in a batch of this rank.
            threads: samples read at once.
        """
        if self.read is None:
            order = EvaluationOrder(len(self.files), 1, distributed.rank(), distributed.size())
            source = staging.staged_source(self.files, self.shape, self.dtype)
            return Batches(self.files, source, order, batch_size, training=False)
        arrays = (ArraySpec(self.shape, self.dtype), ArraySpec(self.shape[:2], np.uint8))
        form = FileFormat(self.read, arrays if self.labels else arrays[:1])
        return evaluation_batches(self.files, form, batch_size, Reading(threads=threads))


class NpyReader(samples.Reader):
    """Reads .npy samples; float16 ones are already normalised and are not changed."""

    def __call__(self, path: str, out: tuple) -> None:
        with npy.open_array(path) as fields:
            if len(out) == 1:
                self.fill(fields, None, out)
                return
            with npy.open_array(label_of(path)) as labels:
                self.fill(fields, labels, out)

    def _read_fields(self, data: hdf5.Rows, first: int, target: np.ndarray) -> None:
        if data.dtype != target.dtype:
            raise UserError(f"{data.where} holds {data.dtype}, but the first file {target.dtype}")
        if data.dtype != np.float16:
            super()._read_fields(data, first, target)
            return
        if self._channels is None:
            data.read_rows(first, target)
        else:
            block = data.read_rows(first, self._scratch((len(target), self.width, CHANNELS), data.dtype))
            target[...] = block[..., self._channels]
        self.check_finite(target.reshape(-1, target.shape[-1]), data.where)


def label_of(path: str) -> str:
    """Return the path of a .npy sample's label file."""
    fields = Path(path)
    return str(fields.with_name(f"label-{fields.name.removeprefix('data-')}"))


def find(folders: tuple, channels: tuple, stats: str) -> SampleSet:
    """List the samples of all folders, which must be of one format. A collective call.

    Args:
        folders: the folders of samples.
        channels: the channels used, by their index in the files.
        stats: path of stats.h5, by which float32 fields are normalised; if empty, it is looked for in the folders and
            their parents.

    Raises:
        UserError: if there are none, the formats differ, or the first sample or stats.h5 is bad.
    """

    def find_format() -> str:
        if not folders:
            raise UserError("inference.data_dirs is not set: the folders of samples")
        formats = {}
        for folder in map(Path, folders):
            present = [form for form, pattern in _PATTERNS.items() if any(folder.expanduser().glob(pattern))]
            if len(present) != 1:
                names = " and ".join(present) or "no"
                raise UserError(f"{folder}: holds {names} samples; data-*.h5, data-*.npy or staged ones expected")
            formats[present[0]] = folder
        if len(formats) > 1:
            raise UserError(f"inference.data_dirs: {' and '.join(formats)} samples cannot be mixed in one run")
        return str(next(iter(formats)))

    form = distributed.on_root(find_format)
    files = [file for folder in folders for file in list_files(folder, _PATTERNS[form])]
    if form == "staged":
        files = [_staged(file) for file in files]
        shape, dtype = distributed.on_root(lambda: staging.staged_form(files[0].path))
        return SampleSet(form, files, shape, dtype, labels=True, read=None)
    size, dtype, labels = distributed.on_root(lambda: _examine(form, files[0].path))
    normalisation = samples.Normalisation.none(len(channels))
    if dtype == np.float32:
        normalisation = distributed.on_root(lambda: samples.read_normalisation(_find_stats(folders, stats), channels))
    reader = (samples.Reader if form == "hdf5" else NpyReader)(size, channels, normalisation)
    if dtype == np.float32:
        distributed.on_root(lambda: check_samples(files, reader, channels, _find_stats(folders, stats), labels=labels))
    return SampleSet(form, files, (*size, len(channels)), dtype, labels, reader)


def _staged(index: DataFile) -> DataFile:
    path = index.path.removesuffix(".index")
    data_file = Path(f"{path}.data-00000-of-00001")
    return DataFile(path, data_file.stat().st_size if data_file.exists() else 0, index.modified_ns)


def _examine(form: str, path: str) -> tuple:
    """((height, width), type of the fields, whether there are labels) of a sample."""
    if form == "hdf5":
        with hdf5.open_file(path) as file:
            return samples.sample_shape(path), np.dtype(np.float32), samples.has_labels(file)
    with npy.open_array(path) as array:
        fits = len(array.shape) == 3 and array.shape[2] == CHANNELS and array.dtype in (np.float16, np.float32)
        if not fits or array.shape[0] % 16 or array.shape[1] % 16:
            raise UserError(
                f"{path}: holds {array.dtype} {array.shape}; float32 or float16 (height, width, {CHANNELS}) expected, "
                "height and width multiples of 16"
            )
        return array.shape[:2], array.dtype, Path(label_of(path)).is_file()


def _find_stats(folders: tuple, stats: str) -> Path:
    return samples.first_stats([stats] if stats else [f"{f}/{up}stats.h5" for f in folders for up in ("", "../")])

"""CAM5 samples: from HDF5 files to normalised fields and labels.

A file `data-*.h5` holds one sample: `climate/data` [768, 1152, 16] float32 and `climate/labels_0` [768, 1152] integer:
0 background, 1 tropical cyclone, 2 atmospheric river. `stats.h5` holds `climate/minval` and `climate/maxval`, one value
per channel over the training samples; the network takes fields as (x - min) / (max - min), as in the reference.
A root folder holds train/, validation/, perhaps test/, and stats.h5 (looked for in train/ too). A set in the form of
tf_deepcam.data.small_set is read as well.
"""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from common import distributed
from common.data import hdf5
from common.data.buffers import pool
from common.data.doubts import warn_once
from common.data.files import DataFile, list_files
from common.data.sources import ArraySpec, FileFormat
from common.errors import UserError
from tf_deepcam.config import CHANNELS, DataSettings
from tf_deepcam.data import small_set

PATTERN = "data-*.h5"
CLASSES = 3
DATA, LABELS = "climate/data", "climate/labels_0"
FILL = 1e15  # nothing that is measured is so large; fill values of netCDF and of climate models are, from 1e20 on
_LEAST_STEPS = 100  # of float32's rounding between a channel's minimum and maximum, for its values to differ
_FARTHEST = 100.0  # of normalised values from 0; those of the samples that stats.h5 was made of are from 0 to 1
# Rows processed at a time: half a megabyte, which stays in the processor's cache between reading and normalising.
_ROWS = 8


@dataclass(frozen=True)
class Normalisation:
    """(x - shift) * scale for each channel in use, [channels] float32."""

    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def none(cls, channels: int) -> "Normalisation":
        """Return the normalisation that leaves values unchanged."""
        return cls(np.zeros(channels, np.float32), np.ones(channels, np.float32))

    @property
    def changes_nothing(self) -> bool:
        return not self.shift.any() and bool((self.scale == 1).all())


def first_stats(candidates: list) -> Path:
    """Return the first of these paths of stats.h5 that exists. Raises UserError if none does."""
    paths = [Path(path).expanduser() for path in candidates]
    for path in paths:
        if path.is_file():
            return path
    others = "".join(f", nor {path}" for path in paths[1:])
    raise UserError(f"{paths[0]}: no such file{others}: make it with `python -m tf_deepcam summarize`")


def find_stats(root: str) -> Path:
    """Return the path of a root folder's stats.h5. Raises UserError if there is none."""
    return first_stats([f"{root}/stats.h5", f"{root}/train/stats.h5"])


def read_normalisation(path: Path, channels: tuple) -> Normalisation:
    """Read the normalisation of these channels from stats.h5.

    Raises:
        UserError: for a statistic that cannot be used, naming the channel.
    """
    with hdf5.open_file(path) as file:
        if file.has(small_set.STATS) and not file.has("climate/minval"):
            low, high = small_set.extremes(file.dataset(small_set.STATS, "f"), channels)
        else:
            low, high = (_statistic(file.dataset(f"climate/{name}", "f"), channels) for name in ("minval", "maxval"))
    low, high = low[list(channels)], high[list(channels)]
    for channel, a, b in zip(channels, low, high):
        largest = np.float32(max(abs(a), abs(b)))
        if largest >= FILL:
            raise UserError(
                f"{path}: channel {channel} has minimum {a:g} and maximum {b:g}, one of them a fill value: make "
                "stats.h5 again, of samples without any"
            )
        if b - a <= _LEAST_STEPS * np.spacing(largest):
            raise UserError(
                f"{path}: channel {channel} has minimum {a:g} and maximum {b:g}, so it cannot be normalised: leave it "
                "out of data.channels, or make stats.h5 again"
            )
    return Normalisation(low.astype(np.float32), (1.0 / (high - low)).astype(np.float32))


def _statistic(dataset: hdf5.Dataset, channels: tuple) -> np.ndarray:
    """One value per channel, float64, finite for those in use."""
    values: np.ndarray = dataset.read().astype(np.float64).ravel()
    if values.size != CHANNELS:
        raise UserError(f"{dataset.where} has {values.size} values, {CHANNELS} expected, one per channel")
    for channel in channels:
        if not np.isfinite(values[channel]):
            raise UserError(f"{dataset.where}: channel {channel} is {values[channel]}: make stats.h5 again")
    return values


def fields_of(file: hdf5.Reader) -> hdf5.Rows:
    """Open a sample's fields, [height, width, channels]. Raises UserError if there are none."""
    return small_set.channels_last(file.dataset(DATA, "f"))


def labels_of(file: hdf5.Reader) -> hdf5.Dataset:
    """Open a sample's labels, [height, width]. Raises UserError if there are none."""
    own, of_small_set = file.has(LABELS), file.has(small_set.LABELS)
    if not own and not of_small_set:
        raise UserError(
            f"{file.path}: has no labels, neither dataset '{LABELS}' nor, in the form of the small set, "
            f"'{small_set.LABELS}': without them a sample can only be inferred (inference.score: false)"
        )
    if own and of_small_set:
        warn_once(
            "labels",
            f"{file.path}: has the labels '{LABELS}' and '{small_set.LABELS}': taken are '{LABELS}', as always",
        )
    return file.dataset(LABELS if own else small_set.LABELS, "fiu")


def has_labels(file: hdf5.Reader) -> bool:
    """Whether a sample's file contains labels."""
    return file.has(LABELS) or file.has(small_set.LABELS)


def sample_shape(path: str) -> tuple:
    """Read (height, width) from a sample's file. Raises UserError if they are not multiples of 16."""
    with hdf5.open_file(path) as file:
        dataset = fields_of(file)
        if len(dataset.shape) != 3 or dataset.shape[2] != CHANNELS:
            raise UserError(f"{dataset.where} has shape {dataset.shape}, (height, width, {CHANNELS}) expected")
        height, width = dataset.shape[:2]
        if height % 16 or width % 16:
            raise UserError(f"{dataset.where} has {height} x {width} pixels; the network needs multiples of 16")
    return height, width


class Reader:
    """Reads one sample into given arrays; safe to use from several threads."""

    def __init__(self, shape: tuple, channels: tuple, normalisation: Normalisation):
        self.height, self.width = shape
        self.normalisation = normalisation
        self._channels = None if channels == tuple(range(CHANNELS)) else list(channels)
        self._farthest = np.inf if normalisation.changes_nothing else _FARTHEST
        # Repeated for a whole row: NumPy's loops over 16 values are too short to be fast.
        self._shift = np.tile(normalisation.shift, self.width)
        self._scale = np.tile(normalisation.scale, self.width)
        self._local = threading.local()
        parts = (np.asarray(channels, np.int64), normalisation.shift, normalisation.scale)
        self.key = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]  # of what it computes

    def __call__(self, path: str, out: tuple) -> None:
        """Read a sample.

        Args:
            path: of the file.
            out: filled: fields [1, height, width, channels] float32 and, if given, labels [1, height, width] uint8.

        Raises:
            UserError: for a file that cannot be read, or values that are not finite.
        """
        with hdf5.open_file(path) as file:
            self.fill(fields_of(file), labels_of(file) if len(out) > 1 else None, out)

    def fill(self, data: hdf5.Rows, labels: Optional[hdf5.Rows], out: tuple) -> None:
        """Fill `out` (see __call__) from open datasets (common.data.hdf5, common.data.npy) of fields and labels."""
        shape = (self.height, self.width)
        _check_shape(data, (*shape, CHANNELS))
        if labels is not None:
            _check_shape(labels, shape)
            self._read_labels(labels, out[1][0])
        # A compressed dataset is decoded by whole chunks, so it is read as one.
        rows = _ROWS if data.contiguous else self.height
        for first in range(0, self.height, rows):
            self._read_fields(data, first, out[0][0][first : first + rows])

    def _read_fields(self, data: hdf5.Rows, first: int, target: np.ndarray) -> None:
        block = data.read_rows(first, self._scratch((len(target), self.width, CHANNELS), data.dtype))
        if self._channels is not None:
            block = block[..., self._channels]
        target = target.reshape(len(target), -1)
        np.subtract(block.reshape(len(target), -1), self._shift, out=target)
        np.multiply(target, self._scale, out=target)
        # Over the block, still in the processor's cache; NaN if any value is.
        low, high = target.min(), target.max()
        if not (-self._farthest < low and high < self._farthest):
            pixels = target.reshape(-1, len(self.normalisation.shift))
            self.check_finite(pixels, data.where)
            self._refuse_far(pixels, data.where)

    def _refuse_far(self, fields: np.ndarray, where: str) -> None:
        """Raises UserError that names the value in `fields` [pixels, channels] farthest from 0."""
        column = int(np.abs(fields).max(0).argmax())
        farthest = fields[np.abs(fields[:, column]).argmax(), column]
        value = farthest / self.normalisation.scale[column] + self.normalisation.shift[column]
        number = column if self._channels is None else self._channels[column]
        raise UserError(
            f"{where} holds {value:.4g} in channel {number}, {farthest:.4g} when normalised, where stats.h5 has 0 to "
            "1: a fill value, or other units: repair or remove the sample, or set data.on_bad_sample: skip"
        )

    def check_finite(self, fields: np.ndarray, where: str) -> None:
        """Raises UserError if `fields` [pixels, channels] holds NaN or infinite values.

        A single one would make every weight NaN, which the ReLUs may hide from the loss.
        """
        bad = ~np.isfinite(fields)
        if bad.any():
            channel = int(bad.any(0).argmax())
            number = channel if self._channels is None else self._channels[channel]
            raise UserError(
                f"{where} holds {int(bad[:, channel].sum())} NaN or infinite values in channel {number}: repair or "
                "remove the sample, or set data.on_bad_sample: skip"
            )

    def _read_labels(self, labels: hdf5.Rows, target: np.ndarray) -> None:
        raw = labels.read_rows(0, pool.empty(labels.shape, labels.dtype))
        low, high = raw.min(), raw.max()
        if raw.dtype.kind == "f" and not np.array_equal(raw, np.floor(raw)):  # also if one is NaN
            raise UserError(f"{labels.where} holds values that are not whole numbers; classes are 0 to {CLASSES - 1}")
        if low < 0 or high >= CLASSES:
            raise UserError(f"{labels.where} holds {low if low < 0 else high}; classes are 0 to {CLASSES - 1}")
        np.copyto(target, raw, casting="unsafe")

    def _scratch(self, shape: tuple, dtype) -> np.ndarray:
        """This thread's buffer, of this shape and type."""
        buffer = getattr(self._local, "block", None)
        if buffer is None or buffer.shape != shape or buffer.dtype != dtype:
            buffer = self._local.block = pool.empty(shape, dtype)
        return buffer


def _check_shape(array: hdf5.Rows, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise UserError(f"{array.where} has shape {array.shape}, {shape} expected, as the first file's fields have")


def list_samples(settings: DataSettings, part: str) -> list[DataFile]:
    """List the samples of one part, sorted by name. A collective call.

    Args:
        settings: the root folder.
        part: "train", "validation" or "test".

    Raises:
        UserError: if there are none.
    """
    if not settings.data_dir_prefix:
        raise UserError("data.data_dir_prefix is not set: the folder with train/, validation/ and stats.h5")
    return list_files(str(Path(settings.data_dir_prefix).expanduser() / part), PATTERN)


def sample_format(read: "Reader") -> FileFormat:
    """Describe a file as one sample: fields [height, width, channels] float32 and labels [height, width] uint8."""
    shape = (read.height, read.width)
    fields = ArraySpec((*shape, len(read.normalisation.shift)), np.float32)
    return FileFormat(read, (fields, ArraySpec(shape, np.uint8)))


def reader(samples: list, settings: DataSettings) -> Reader:
    """Make the reader for samples of the first one's size, normalised by the root folder's stats.h5. Collective."""

    def prepare() -> tuple:
        normalisation = read_normalisation(find_stats(settings.data_dir_prefix), settings.channels)
        return sample_shape(samples[0].path), normalisation

    shape, normalisation = distributed.on_root(prepare)
    return Reader(shape, settings.channels, normalisation)

"""From a root folder's train/ and validation/ to batches for training and for validation."""

from typing import NamedTuple

from common.data.batches import Batches, Reading, evaluation_batches, training_batches
from common.runs.environment import code_checksum
from common.training.settings import BatchSizes
from tf_deepcam.config import DataSettings
from tf_deepcam.data.samples import Reader, list_samples, reader, sample_format
from tf_deepcam.data.screening import Screened, screen


class BatchPair(NamedTuple):
    """For training and for validation, of one form."""

    training: Batches
    held_out: Batches


class Samples(NamedTuple):
    """batches: of (fields [batch, height, width, channels] float32, labels [batch, height, width] uint8). read: what
    decodes a file. skipped: why, for each file that was left out."""

    batches: BatchPair
    read: Reader
    skipped: dict[str, str]


def sample_batches(settings: DataSettings, sizes: BatchSizes, *, seed: int, threads: int) -> Samples:
    """As they lie in the root folder, staged or not. A collective call.

    Raises UserError if a folder is missing or empty, or the first sample or stats.h5 is bad.
    """
    listed = [list_samples(settings, part) for part in ("train", "validation")]
    read = reader(listed[0], settings)
    parts = [Screened(files, {}) for files in listed]
    if settings.on_bad_sample == "skip":
        parts = [screen(files, read, threads) for files in listed]
    form = sample_format(read)
    reading = Reading(settings, threads, recipe=f"{read.key} {code_checksum()}")
    training = training_batches(
        parts[0].good, form, sizes.per_update, seed=seed, reading=reading, began_on=sizes.began_on
    )
    validation = evaluation_batches(parts[1].good, form, sizes.evaluation, reading)
    return Samples(BatchPair(training, validation), read, {**parts[0].bad, **parts[1].bad})

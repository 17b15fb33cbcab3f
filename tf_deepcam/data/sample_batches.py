"""Batches for training and validation from a root folder's train/ and validation/."""

from typing import NamedTuple

from common import distributed
from common.data.batches import Batches, Reading, evaluation_batches, training_batches
from common.runs.environment import code_checksum
from common.training.settings import BatchSizes
from tf_deepcam.config import DataSettings
from tf_deepcam.data.plausible import check_samples
from tf_deepcam.data.samples import Reader, find_stats, list_samples, reader, sample_format
from tf_deepcam.data.screening import Screened, screen


class BatchPair(NamedTuple):
    """Batches for training and for validation."""

    training: Batches
    held_out: Batches


class Samples(NamedTuple):
    """The samples of a root folder."""

    batches: BatchPair  # of fields [batch, height, width, channels] float32 and labels [batch, height, width] uint8
    read: Reader  # decodes a file
    skipped: dict[str, str]  # {path: why} of the files that were left out


def sample_batches(settings: DataSettings, sizes: BatchSizes, *, seed: int, threads: int) -> Samples:
    """Make batches of the samples in the root folder, whether or not they will be staged. A collective call.

    Args:
        settings: where the samples are and how they are read.
        sizes: of the batches.
        seed: of the order of training samples.
        threads: samples read at once.

    Raises:
        UserError: if a folder is missing or empty, or the first sample or stats.h5 is bad.
    """
    listed = [list_samples(settings, part) for part in ("train", "validation")]
    read = reader(listed[0], settings)
    distributed.on_root(
        lambda: check_samples(listed[0], read, settings.channels, find_stats(settings.data_dir_prefix), labels=True)
    )
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

"""Whether stats.h5 is that of the samples, judged by a few of them before any is trained on.

stats.h5 holds the lowest and highest value of each channel over the training samples, so these are from 0 to 1 when
normalised. With the statistics of other data, or with data in other units, the network sees other numbers than it was
made for, and no error says so.
"""

from pathlib import Path

import numpy as np

from common.data.doubts import warn_once
from common.data.files import DataFile
from common.errors import UserError
from tf_deepcam.data.samples import Reader, sample_format

_SAMPLES = 3  # evenly chosen
# Bounds on a channel's median. A sample may lie a little outside if stats.h5 was made of others of the same kind.
_CANNOT_BE, _CAN_HARDLY_BE = (-0.5, 1.5), (-0.1, 1.1)
_LEAST_RANGE = 1e-3  # of a channel's values over whole samples, as a share of the range in stats.h5


def check_samples(files: list[DataFile], read: Reader, channels: tuple[int, ...], stats: Path, *, labels: bool) -> None:
    """Look at a few samples. Rank 0 only.

    Args:
        files: the training samples, or those to infer.
        read: reads and normalises them.
        channels: the numbers of the channels that it reads.
        stats: path of stats.h5.
        labels: whether they have labels.

    Raises:
        UserError: if stats.h5 cannot be that of these samples.
    """
    chosen = [files[number * (len(files) - 1) // max(_SAMPLES - 1, 1)] for number in range(_SAMPLES)]
    fields, seen = [], []
    arrays = sample_format(read).empty(1)
    for file in dict.fromkeys(chosen):
        try:
            read(file.path, arrays if labels else arrays[:1])
        except UserError:  # whoever reads it next says so, or leaves it out (data.on_bad_sample)
            continue
        fields.append(np.stack([_summary(plane) for plane in np.moveaxis(arrays[0][0], -1, 0)]))
        seen.append(np.unique(arrays[1]) if labels else np.zeros(0))
    if not fields:
        return
    _check_fields(np.stack(fields), channels, files[0].path, stats)
    kinds = np.unique(np.concatenate(seen))
    if labels and len(kinds) == 1:
        warn_once(
            "one class",
            f"{files[0].path}: in {len(seen)} samples looked at every label is {kinds[0]}: there is nothing to learn "
            "from labels of one class",
        )


def _summary(plane: np.ndarray) -> tuple[float, float, float]:
    """Lowest, median and highest of a channel [height, width]."""
    return float(plane.min()), float(np.median(plane)), float(plane.max())


def _check_fields(fields: np.ndarray, channels: tuple[int, ...], path: str, stats: Path) -> None:
    """fields: [samples, channels, 3], lowest, median and highest, normalised."""
    medians = np.median(fields[..., 1], 0)
    ranges = fields[..., 2].max(0) - fields[..., 0].min(0)
    farthest = int(np.abs(medians - 0.5).argmax())
    middle, channel = medians[farthest], channels[farthest]
    line = (
        f"{stats}: is not of samples such as {path}: channel {channel} has a median of {middle:.4g} when normalised, "
        "and 0 to 1 is expected: give the samples' own stats.h5 (`python -m tf_deepcam summarize`), or its units"
    )
    if not _CANNOT_BE[0] <= middle <= _CANNOT_BE[1]:
        raise UserError(line)
    if not _CAN_HARDLY_BE[0] <= middle <= _CAN_HARDLY_BE[1]:
        warn_once("statistics", line)
    narrow = int(ranges.argmin())
    if ranges[narrow] < _LEAST_RANGE:
        warn_once(
            "range",
            f"{stats}: samples such as {path} take up {ranges[narrow]:.2g} of the range of channel {channels[narrow]} "
            "in it: is a fill value in the statistics?",
        )

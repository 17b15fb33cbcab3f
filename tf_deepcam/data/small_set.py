"""The form of the small public set, climseg-data-small: `climate/data` [16, height, width] and `climate/labels`.

Its stats.h5 holds `climate/stats` [16, 4]: mean, maximum, minimum and standard deviation of each channel. The names and
the order of axes and columns are those of public programs that read this set.
"""

import numpy as np

from common.data import hdf5
from common.data.buffers import pool
from common.errors import UserError
from tf_deepcam.config import CHANNELS

LABELS = "climate/labels"
STATS = "climate/stats"


class ChannelsLast:
    """Fields [channels, height, width] of a file as rows of [height, width, channels] (common.data.hdf5.Rows)."""

    contiguous = False

    def __init__(self, data: hdf5.Dataset):
        self.where, self.dtype, self._data = data.where, data.dtype, data
        self.shape: tuple[int, ...] = (*data.shape[1:], data.shape[0])

    def read_rows(self, first: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` [rows, width, channels] with rows from number `first` on; return it."""
        fields = self._data.read_rows(0, pool.empty(self._data.shape, self.dtype))
        out[...] = np.moveaxis(fields[:, first : first + len(out)], 0, 2)
        return out


def channels_last(data: hdf5.Dataset) -> hdf5.Rows:
    """Return fields in the benchmark's order of axes; a dataset of another shape is returned as it is.

    Raises:
        UserError: if the shape does not tell which axis is that of the channels.
    """
    if len(data.shape) == 3 and data.shape[0] == data.shape[2] == CHANNELS:
        raise UserError(f"{data.where} has shape {data.shape}, in which channels may be the first axis or the last")
    first = len(data.shape) == 3 and data.shape[0] == CHANNELS
    return ChannelsLast(data) if first else data


def extremes(stats: hdf5.Dataset, channels: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Return minimum and maximum of each channel, float64.

    Raises:
        UserError: if the columns of a channel in use cannot be mean, maximum, minimum and standard deviation.
    """
    if stats.shape != (CHANNELS, 4):
        raise UserError(f"{stats.where} has shape {stats.shape}, {(CHANNELS, 4)} expected")
    mean, high, low, deviation = stats.read().astype(np.float64).T
    finite = np.isfinite([mean, high, low, deviation]).all(0)
    good = finite & (low <= mean) & (mean <= high) & (deviation >= 0)
    bad = [channel for channel in channels if not good[channel]]
    if bad:
        channel = bad[0]
        raise UserError(
            f"{stats.where}, channel {channel}: mean {mean[channel]:g}, maximum {high[channel]:g}, minimum "
            f"{low[channel]:g} and standard deviation {deviation[channel]:g} are no statistics: make stats.h5 with "
            "`python -m tf_deepcam summarize`"
        )
    return low, high

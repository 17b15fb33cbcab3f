"""The statistics in stats.h5: minimum, maximum, mean and mean square of each channel over the training samples.

One pass over the files, divided among ranks, with sums in float64. The figures of all files are added up in the order
of file names, so that the result is the same to the last bit on any number of ranks.
"""

import sys
from pathlib import Path

import numpy as np
from rich.progress import track

from common import distributed
from common.data import hdf5, new_file
from common.data.buffers import pool
from common.data.files import list_files
from common.data.order import share
from common.errors import UserError
from tf_deepcam.data.samples import DATA, FILL, PATTERN, fields_of

_ROWS = 16  # processed at a time, so that a block stays in the processor's cache


def channel_sums(path: str) -> np.ndarray:
    """Compute one file's minimum, maximum, sum, sum of squares and number of pixels, [5, channels] float64.

    Raises:
        UserError: if the file cannot be read, or holds NaN or infinite values.
    """
    with hdf5.open_file(path) as file:
        data = fields_of(file)
        height, width, channels = data.shape
        rows = _ROWS if data.contiguous else height
        totals = np.zeros((5, channels))
        totals[0], totals[1] = np.inf, -np.inf
        for first in range(0, height, rows):
            count = min(rows, height - first)
            raw = data.read_rows(first, pool.empty((count, width, channels), data.dtype))
            # Over rows first, with inner loops of a row's length, then over columns.
            totals[0] = np.minimum(totals[0], raw.min(0).min(0))
            totals[1] = np.maximum(totals[1], raw.max(0).max(0))
            values: np.ndarray = raw.reshape(-1, channels).astype(np.float64)
            totals[2] += np.ones(len(values)) @ values
            totals[3] += np.einsum("ij,ij->j", values, values)
            totals[4] += len(values)
    bad = ~(np.isfinite(totals).all(0) & (np.abs(totals[:2]) < FILL).all(0))
    if bad.any():
        raise UserError(
            f"{path}: dataset '{DATA}' holds NaN, infinite values or fill values (from {FILL:g} on) in channel "
            f"{int(bad.argmax())}"
        )
    return totals


def main(folder: str) -> int:
    """Write folder/stats.h5 from folder/train. A collective call.

    Returns:
        The exit code.

    Raises:
        UserError: if stats.h5 exists, or a sample is bad.
    """
    root = Path(folder).expanduser()
    target = root / "stats.h5"

    def check() -> None:
        if target.exists():
            raise UserError(f"{target}: exists already and is left as it is; move it away to make a new one")

    distributed.on_root(check)
    files = list_files(str(root / "train"), PATTERN)
    first, last = share(len(files), distributed.rank(), distributed.size())
    own, sums, problem = files[first:last], [], None
    show = distributed.is_root() and sys.stdout.isatty()
    try:
        for file in track(own, "summarizing", transient=True) if show else own:
            sums.append(channel_sums(file.path))
    except UserError as error:
        problem = error
    distributed.raise_together(problem)
    all_sums = [one_file for of_rank in distributed.gather_objects(sums) for one_file in of_rank]
    if distributed.is_root():
        write(target, all_sums)
        print(f"{target}: written from {len(all_sums)} files in {root / 'train'}")
    distributed.barrier()
    return 0


def write(target: Path, sums: list) -> None:
    """Write stats.h5 from each file's channel_sums."""
    stacked = np.stack(sums)  # [files, 5, channels]
    pixels = stacked[:, 4].sum(0)
    with new_file.write_file(target) as file:
        file["climate/count"] = len(sums)
        file["climate/mean"] = (stacked[:, 2].sum(0) / pixels).astype(np.float32)
        file["climate/sqmean"] = (stacked[:, 3].sum(0) / pixels).astype(np.float32)
        file["climate/minval"] = stacked[:, 0].min(0).astype(np.float32)
        file["climate/maxval"] = stacked[:, 1].max(0).astype(np.float32)

"""Conversion of HDF5 samples to .npy files (tf_deepcam.data.formats), which other readers such as DALI's can read."""

import os
import sys
from pathlib import Path
from typing import Optional

import numpy as np
from rich.progress import track

from common import distributed
from common.data import hdf5
from common.data.buffers import pool
from common.data.files import DataFile, list_files, make_folder
from common.data.order import share
from common.errors import UserError, storage_problem
from tf_deepcam.config import CHANNELS
from tf_deepcam.data import samples
from tf_deepcam.data.formats import label_of


def main(source: str, target: str, dtype: str) -> int:
    """Write data-NAME.npy and label-NAME.npy for each sample; existing files are kept. A collective call.

    Args:
        source: folder of samples, at any depth.
        target: folder for the .npy files.
        dtype: "float32" keeps the values; "float16" normalises them by the stats.h5 in `source` or its parent.

    Returns:
        The exit code.

    Raises:
        UserError: if a sample cannot be read or a file cannot be written.
    """
    files = list_files(source, samples.PATTERN)
    folder = Path(target).expanduser()

    def prepare() -> tuple:
        make_folder(folder)
        shape = samples.sample_shape(files[0].path)
        if dtype == "float32":
            return shape, None
        stats = samples.first_stats([f"{source}/stats.h5", f"{source}/../stats.h5"])  # float16 holds normalised fields
        return shape, samples.read_normalisation(stats, tuple(range(CHANNELS)))

    shape, normalisation = distributed.on_root(prepare)
    first, last = share(len(files), distributed.rank(), distributed.size())
    written, problem = 0, None
    show = distributed.is_root() and sys.stdout.isatty()
    try:
        for file in track(files[first:last], "converting", transient=True) if show else files[first:last]:
            written += _convert(file, folder / f"{Path(file.path).stem}.npy", shape, normalisation)
    except UserError as error:
        problem = error
    distributed.raise_together(problem)
    written = sum(distributed.gather_objects(written))
    if distributed.is_root():
        print(f"{folder}: {written} samples written as {dtype}, {len(files) - written} were there already")
    return 0


def _convert(file: DataFile, target: Path, shape: tuple, normalisation: Optional[samples.Normalisation]) -> bool:
    """Convert one sample; return False if it existed already. The file of fields is renamed last."""
    if target.exists():
        return False
    with hdf5.open_file(file.path) as opened:
        labelled = samples.has_labels(opened)
        fields = pool.empty((1, *shape, CHANNELS), np.float32)
        labels = pool.empty((1, *shape), np.uint8)
        reader = samples.Reader(shape, tuple(range(CHANNELS)), normalisation or samples.Normalisation.none(CHANNELS))
        reader(file.path, (fields, labels) if labelled else (fields,))
    if labelled:
        _save(Path(label_of(str(target))), labels[0])
    _save(target, fields[0] if normalisation is None else fields[0].astype(np.float16))
    return True


def _save(target: Path, array: np.ndarray) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.save(file, array)
        os.replace(temporary, target)
    except OSError as error:
        problem = storage_problem(error, target.parent, array.nbytes)
        raise UserError(f"{target}: cannot be written ({problem}); the source is unchanged") from error
    finally:
        temporary.unlink(missing_ok=True)

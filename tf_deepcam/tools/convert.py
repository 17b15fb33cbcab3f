"""HDF5 samples to .npy files, which other readers (DALI's among them) take as they are: tf_deepcam.data.formats."""

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
    """data-NAME.npy and label-NAME.npy in `target` for each sample below `source`; those that are there stay.

    dtype: float32 keeps the values, float16 normalises them with the stats.h5 in `source` or above it. A collective
    call: ranks share the files. Raises UserError.
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
    made, problem = 0, None
    show = distributed.is_root() and sys.stdout.isatty()
    try:
        for file in track(files[first:last], "converting", transient=True) if show else files[first:last]:
            made += _convert(file, folder / f"{Path(file.path).stem}.npy", shape, normalisation)
    except UserError as error:
        problem = error
    distributed.raise_together(problem)
    made = sum(distributed.gather_objects(made))
    if distributed.is_root():
        print(f"{folder}: {made} samples written as {dtype}, {len(files) - made} were there already")
    return 0


def _convert(file: DataFile, target: Path, shape: tuple, normalisation: Optional[samples.Normalisation]) -> bool:
    """False if it was there. The fields take their name last."""
    if target.exists():
        return False
    with hdf5.open_file(file.path) as opened:
        labelled = opened.has(samples.LABELS)
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
        raise UserError(f"{target}: cannot be written ({problem}); the source is as it was") from error
    finally:
        temporary.unlink(missing_ok=True)

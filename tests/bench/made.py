"""Made-up scenes and products to be measured with, read barely, and converted."""

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np

from common.data.hdf5 import read_at
from tests.bench.measure import in_turn, row


def scenes(folder: Path, count: int, form: str = "dataset") -> list:
    """Paths of `count` made-up scenes; by day, so that nothing is missing from them."""
    from cloudmask.data.listing import list_scenes
    from cloudmask.tools import synthesize

    synthesize.main(synthesize.Collection(str(folder), count, form))
    return [Path(scene.path) for scene in list_scenes(str(folder))]


def raw_reader(paths: list):
    """Bare reading of the bytes that a reader of scenes needs, into one buffer."""
    places = []
    for path in paths:
        with h5py.File(path) as file:
            found = [file[name] for name in ("refs", "bts", "bayes")]
            places.append([(item.id.get_offset(), item.nbytes) for item in found])
    buffer = np.empty(max(size for each in places for _, size in each), np.uint8)

    def raw() -> None:
        for path, parts in zip(paths, places):
            with open(path, "rb", buffering=0) as file:
                for offset, size in parts:
                    read_at(file.fileno(), offset, buffer[:size], str(path))

    return raw


def converting() -> None:
    """The command `convert`, from products to files of the data set's kind, against HDF5's reading of them."""
    from cloudmask.config import DataSettings
    from cloudmask.tools import convert

    count = 4
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        paths, target = scenes(Path(folder), count, "sen3"), Path(folder) / "out"

        def work() -> None:
            shutil.rmtree(target, ignore_errors=True)
            convert.main([str(path) for path in paths], str(target), DataSettings())

        def read() -> None:
            for file in (file for path in paths for file in sorted(path.glob("S?_*_?n.nc"))):
                with h5py.File(file) as opened:
                    for name in opened:
                        opened[name][()]

        ours, limit = in_turn(work, read, 5)
    row(
        "converting products", ours / count, limit / count, "s a product", 0.33, "their unpacking by HDF5", higher=False
    )

"""The patches of scenes that networks are trained on, cut as the reference program cuts them."""

from typing import Optional

import numpy as np

from cloudmask.config import DataSettings
from cloudmask.data.patch_grid import check_fits, patch_grid
from cloudmask.data.reader import CHANNELS, ROWS, open_scene
from common.data.batches import Batches, Reading, evaluation_batches, training_batches
from common.data.cache import Arrays
from common.data.files import DataFile
from common.data.sources import ArraySpec, FileFormat


def read_patches(
    path: str, settings: DataSettings, out: Optional[Arrays] = None, *, needs_labels: bool = True
) -> Arrays:
    """A scene's training patches, row by row from the top left.

    Returns `out`, or new arrays: images [n, size, size, 9] float32, cloud [n, size, size, 1] uint8,
    measured [n, size, size, 1] uint8; n = 20 and size = 256 for the benchmark's scenes.
    Raises UserError for a scene of another size, or without labels if they are needed; else cloud is not filled then.
    """
    size = settings.patch_size
    down, across, top, left = patch_grid(settings)
    if out is None:
        out = patch_format(settings).empty(down * across)
    images = out[0].reshape(down, across, size, size, CHANNELS)
    cloud, measured = (array.reshape(down, across, size, size) for array in out[1:])
    with open_scene(path, settings) as scene:
        if needs_labels:
            scene.check_labels()
        check_fits(scene, settings, path)
        top += (scene.height - settings.image_h) // 2
        for band in range(down):
            for row in range(0, size, ROWS):
                place = np.s_[:, row : row + ROWS]
                rows = min(ROWS, size - row)
                first = top + band * size + row
                # [across, rows, size] seen as [rows, across, size]: the order in which the file has the pixels
                image, seen, labels = (each[band][place].swapaxes(0, 1) for each in (images, measured, cloud))
                scene.image_rows(first, rows, left, image, seen)
                if needs_labels:
                    scene.cloud_rows(first, rows, left, labels)
        scene.check_values()
    return out


def patch_format(settings: DataSettings) -> FileFormat:
    """A scene's file as the patches of one batch: image, cloud, measured."""
    size, grid = settings.patch_size, patch_grid(settings)
    label = ArraySpec((size, size, 1), np.uint8)
    arrays = (ArraySpec((size, size, CHANNELS), np.float32), label, label)
    return FileFormat(lambda path, out: read_patches(path, settings, out), arrays, grid.down * grid.across)


def training_patches(
    scenes: list[DataFile], settings: DataSettings, batch_size: int, *, seed: int, reading: Reading, began_on: int = 0
) -> Batches:
    """Shuffled batches of (image, cloud, measured) over the patches of these scenes."""
    return training_batches(scenes, patch_format(settings), batch_size, seed=seed, reading=reading, began_on=began_on)


def evaluation_patches(scenes: list[DataFile], settings: DataSettings, batch_size: int, reading: Reading) -> Batches:
    """The same in file order, every patch once."""
    return evaluation_batches(scenes, patch_format(settings), batch_size, reading)

"""SLSTR scenes: how they are split, and whole ones for inference.

A file of the benchmark's data set holds `refs` [1200, 1500, 6] float64, reflectance; `bts` [1200, 1500, 3] float32,
kelvin; `bayes` [1200, 1500, 1] float64, the Bayesian mask's flags, above 0 = cloud; other datasets are passed over.
Any floating-point type is taken, for labels any numeric one. `refs` may be on the instrument's own 0.5 km grid, [2400,
3000, 6]: then 2 x 2 pixels are averaged onto the 1 km grid. A scene may also be a Sentinel-3 product (cloudmask.sen3).
"""

from typing import Callable, NamedTuple, Optional, Union

import numpy as np
from sklearn.model_selection import train_test_split

from cloudmask.config import DataSettings
from cloudmask.data.reader import CHANNELS, ROWS, open_scene
from common.data.buffers import pool
from common.data.files import DataFile
from common.errors import UserError


class Padding(NamedTuple):
    """Rows and columns of zeros around a scene."""

    above: int
    below: int
    left: int
    right: int


NO_PADDING = Padding(0, 0, 0, 0)


class Split(NamedTuple):
    training: list[DataFile]
    held_out: list[DataFile]


def split(scenes: list[DataFile], settings: DataSettings) -> Split:
    """By sklearn's train_test_split on the sorted names.

    Raises UserError if a side would be empty.
    """
    try:
        training, held_out = train_test_split(scenes, train_size=settings.train_split, random_state=settings.split_seed)
    except ValueError:
        raise UserError(
            f"{len(scenes)} scenes split at data.train_split {settings.train_split} leave one side empty: "
            "add scenes or change train_split",
            on_all_ranks=True,
        ) from None
    return Split(training, held_out)


class Scene(NamedTuple):
    """image [1, H + padding, W + padding, 9] float32, normalised; measured [H, W] uint8, 1 where there is any
    brightness temperature; cloud [H, W] uint8, None without labels."""

    image: np.ndarray
    measured: np.ndarray
    cloud: Optional[np.ndarray]

    def counted(self, settings: DataSettings) -> np.ndarray:
        """[H, W] uint8, 1 for the pixels that are trained on and scored."""
        return self.measured if settings.missing == "mask" else np.ones_like(self.measured)


PaddingOf = Callable[[tuple[int, int]], Padding]


def read_scene(path: str, settings: DataSettings, pad: Union[Padding, PaddingOf] = NO_PADDING) -> Scene:
    """A whole scene of any size for inference.

    pad: zeros (after normalisation) around it, or a function from the scene's height and width to them.
    """
    with open_scene(path, settings) as scene:
        top, bottom, before, after = pad((scene.height, scene.width)) if callable(pad) else pad
        shape = (1, scene.height + top + bottom, scene.width + before + after, CHANNELS)
        image = pool.empty(shape, np.float32)
        image[0, :top], image[0, shape[1] - bottom :] = 0.0, 0.0
        image[0, :, :before], image[0, :, shape[2] - after :] = 0.0, 0.0
        measured = np.empty((scene.height, scene.width), np.uint8)
        cloud = np.empty_like(measured) if scene.has_labels else None
        for first in range(0, scene.height, ROWS):
            rows = min(ROWS, scene.height - first)
            inner = image[:, top + first : top + first + rows, before : before + scene.width]
            block = np.s_[first : first + rows, np.newaxis]
            scene.image_rows(first, rows, 0, inner.swapaxes(0, 1), measured[block])
            if cloud is not None:
                scene.cloud_rows(first, rows, 0, cloud[block])
        scene.check_values()
    return Scene(image, measured, cloud)

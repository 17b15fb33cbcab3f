"""SLSTR scenes: HDF5 files to normalised images, labels and weights.

A file holds `refs` [1200, 1500, 6] float, reflectance; `bts` [1200, 1500, 3] float, kelvin; `bayes` [1200, 1500, 1]
of any numeric type, the Bayesian mask's flags, above 0 = cloud. `refs` may be on the instrument's own 0.5 km grid,
[2400, 3000, 6]: then 2 x 2 pixels are averaged onto the 1 km grid.

Normalisation is the reference's: reflectance - 0.5 and (temperature - 270 K) / 22 K, so that a network sees about the
same range in all channels. Missing values (NaN, or outside the ranges in the settings) become 0 after normalisation;
a pixel with no brightness temperature at all is outside the swath: weight 0, and NaN in the mask.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from sklearn.model_selection import train_test_split

from cloudmask.config import DataSettings
from common.data import hdf5
from common.data.buffers import pool
from common.data.files import DataFile, list_files
from common.errors import UserError

PATTERN = "S3A*.hdf"
REFLECTANCES = 6
TEMPERATURES = 3
CHANNELS = REFLECTANCES + TEMPERATURES
# Rows handled at a time: few enough for the processor's cache, and so many that reader threads, which swap the
# interpreter's lock at each operation, seldom do.
ROWS = 128
_PIXEL = np.dtype([("reflectance", f"V{4 * REFLECTANCES}"), ("temperature", f"V{4 * TEMPERATURES}")])


class Padding(NamedTuple):
    """Rows and columns of zeros around a scene."""

    above: int
    below: int
    left: int
    right: int


NO_PADDING = Padding(0, 0, 0, 0)


@dataclass(frozen=True)
class Missing:
    """What counts as no measurement: values outside these closed ranges, and NaN."""

    reflectance: tuple
    temperature: tuple

    @classmethod
    def of(cls, settings: DataSettings) -> "Missing":
        return cls(settings.reflectance_range, settings.temperature_range_kelvin)


def list_scenes(folder: str, max_scenes: int = 0) -> list[DataFile]:
    """The scenes below a folder, sorted by name. Collective; UserError if there are none."""
    if not folder:
        raise UserError("data.train_dir is not set: the folder of scenes S3A*.hdf", on_all_ranks=True)
    files = list_files(folder, PATTERN)
    return files[:max_scenes] if max_scenes else files


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


class SceneReader:
    """The three datasets of one open file, with their shapes checked against each other and the settings."""

    def __init__(self, file: hdf5.Reader, missing: Missing, height: Optional[int] = None, width: Optional[int] = None):
        self._temperatures = file.dataset("bts", "f")
        self._reflectances = file.dataset("refs", "f")
        self._file, self._missing = file, missing
        shape = self._temperatures.shape
        expected = (height or shape[0], width or (shape[1] if len(shape) > 1 else 0), TEMPERATURES)
        if shape != expected:
            raise UserError(
                f"{self._temperatures.where} has shape {shape}, {expected} expected (data.image_h, data.image_w)"
            )
        self.height, self.width = shape[:2]
        coarse = (self.height, self.width, REFLECTANCES)
        fine = (2 * self.height, 2 * self.width, REFLECTANCES)
        if self._reflectances.shape not in (coarse, fine):
            raise UserError(
                f"{self._reflectances.where} has shape {self._reflectances.shape}, {coarse} (1 km grid) "
                f"or {fine} (0.5 km grid) expected"
            )
        self._factor = 1 if self._reflectances.shape == coarse else 2

    def image_rows(self, first: int, rows: int, left: int, columns: int, image: np.ndarray, weight: np.ndarray) -> None:
        """Normalised pixels of a block of `rows` rows from `first` and `columns` columns from `left`.

        image: to fill, a view that broadcasts as [rows, *columns split in any way, 9] float32.
        weight: to fill, likewise without channels, uint8: 1 where any brightness temperature was measured.
        """
        factor = self._factor
        raw = pool.empty((rows * factor, self.width * factor, REFLECTANCES), self._reflectances.dtype)
        reflectance = np.asarray(self._reflectances.read_rows(first * factor, raw), np.float32)
        raw = pool.empty((rows, self.width, TEMPERATURES), self._temperatures.dtype)
        temperature = np.asarray(self._temperatures.read_rows(first, raw), np.float32)
        absent = _absent(temperature, self._missing.temperature)
        temperature -= 270.0
        temperature /= 22.0
        reflectance_absent = _absent(reflectance, self._missing.reflectance)
        if factor == 2:
            reflectance, reflectance_absent = _average_2x2(reflectance, reflectance_absent)
        reflectance -= 0.5
        weight[...] = 1
        if absent is not None:
            np.putmask(temperature, absent, 0.0)
            # Band by band: a reduction over an axis of 3 takes ten times as long.
            seen = ~(absent[..., 0] & absent[..., 1] & absent[..., 2])
            weight[...] = seen[:, left : left + columns].reshape(weight.shape)
        if reflectance_absent is not None:
            np.putmask(reflectance, reflectance_absent, 0.0)
        # Six and three floats as one item each: copied float by float, with inner loops so short, it takes three times
        # as long, and channel by channel it goes through the image's memory nine times.
        pixels = image.view(_PIXEL)[..., 0]
        for name, values in (("reflectance", reflectance), ("temperature", temperature)):
            items = values[:, left : left + columns].view(_PIXEL[name])[..., 0]
            pixels[name] = items.reshape(pixels.shape)

    def cloud_rows(self, first: int, rows: int, left: int, columns: int, cloud: np.ndarray) -> None:
        """1 where the Bayesian mask says cloud (> 0), into `cloud` (uint8, shaped as `weight` above)."""
        bayes = self._bayes()
        flags = bayes.read_rows(first, pool.empty((rows, self.width, 1), bayes.dtype))
        if bayes.dtype.kind == "f" and not np.isfinite(flags).all():
            raise UserError(f"{bayes.where} holds NaN or infinite labels")
        cloud[...] = (flags[:, left : left + columns, 0] > 0).reshape(cloud.shape)

    def has_labels(self) -> bool:
        return self._file.has("bayes")

    def _bayes(self) -> hdf5.Dataset:
        if not hasattr(self, "_labels"):
            self._labels = self._file.dataset("bayes", "fiu")
            expected = (self.height, self.width, 1)
            if self._labels.shape != expected:
                raise UserError(f"{self._labels.where} has shape {self._labels.shape}, {expected} expected")
        return self._labels


def _absent(values: np.ndarray, valid: tuple) -> Optional[np.ndarray]:
    """Where `values` are NaN or outside the closed range; None if nowhere, which two quick passes tell."""
    low, high = valid
    if values.min() >= low and values.max() <= high:  # both are NaN if any value is
        return None
    return ~((values >= low) & (values <= high))


def _average_2x2(values: np.ndarray, absent: Optional[np.ndarray]) -> tuple[np.ndarray, Optional[np.ndarray]]:
    """[2 rows, 2 columns, c] to ([rows, columns, c], where none of the four was measured or None).

    The mean of those of the four pixels that were measured.
    """
    if absent is None:
        rows = values[0::2] + values[1::2]
        return (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25), None
    values = np.where(absent, 0, values)
    rows, counts = values[0::2] + values[1::2], 2 - (absent[0::2].astype(np.uint8) + absent[1::2])
    count = counts[:, 0::2] + counts[:, 1::2]
    return (rows[:, 0::2] + rows[:, 1::2]) / np.maximum(count, 1), count == 0


class Scene(NamedTuple):
    """image [1, H + padding, W + padding, 9] float32, normalised; weight [H, W] uint8, 1 where measured; cloud [H, W]
    uint8, None without labels."""

    image: np.ndarray
    weight: np.ndarray
    cloud: Optional[np.ndarray]


def read_scene(path: str, missing: Missing, pad: Padding = NO_PADDING, height=None, width=None) -> Scene:
    """A whole scene for inference. pad: zeros (after normalisation) around it."""
    top, bottom, before, after = pad
    with hdf5.open_file(path) as file:
        scene = SceneReader(file, missing, height, width)
        shape = (1, scene.height + top + bottom, scene.width + before + after, CHANNELS)
        image = pool.empty(shape, np.float32)
        image[0, :top], image[0, shape[1] - bottom :] = 0.0, 0.0
        image[0, :, :before], image[0, :, shape[2] - after :] = 0.0, 0.0
        weight = np.empty((scene.height, scene.width), np.uint8)
        cloud = np.empty_like(weight) if scene.has_labels() else None
        for first in range(0, scene.height, ROWS):
            rows = min(ROWS, scene.height - first)
            target = image[0, top + first : top + first + rows, before : before + scene.width]
            scene.image_rows(first, rows, 0, scene.width, target, weight[first : first + rows])
        if cloud is not None:
            scene.cloud_rows(0, scene.height, 0, scene.width, cloud)
    return Scene(image, weight, cloud)


def mask_name(path: str) -> str:
    """File name of a scene's mask, as the reference names it."""
    return Path(path).name + ".h5"

"""The pixels of one scene: normalised, cut and scattered to where they are wanted, a block of rows at a time.

Normalisation is the reference's: reflectance - 0.5 and (temperature - 270 K) / 22 K, so that a network sees about the
same range in all channels. What counts as missing, and what is done about it, is data.missing's choice:

mask       missing values become 0 after normalisation: NaN, what lies outside the ranges in the settings, and all six
           reflectances where each of them is exactly 0, the data set's way to say that nothing was measured
reference  every value as it comes, as the reference program does: 0 K becomes -12.27
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

import numpy as np

from cloudmask.config import DataSettings
from cloudmask.sen3.conversion import convert
from common.data import hdf5
from common.errors import UserError

REFLECTANCES = 6
TEMPERATURES = 3
CHANNELS = REFLECTANCES + TEMPERATURES
# Rows handled at a time: so few that they stay in a processor's cache from reading to writing (a scene read by blocks
# comes four times as fast as in one piece), and so many that reader threads, which swap the interpreter's lock at
# each operation, seldom do.
ROWS = 32
_PIXEL = np.dtype([("reflectance", f"V{4 * REFLECTANCES}"), ("temperature", f"V{4 * TEMPERATURES}")])


def is_product(path: str) -> bool:
    """Whether it is a Sentinel-3 product rather than one of the data set's files."""
    return path.endswith(".SEN3")


@contextmanager
def open_scene(path: str, settings: DataSettings) -> Iterator["SceneReader"]:
    """A scene's file, or a Sentinel-3 product converted on the way (data.sen3). Raises UserError."""
    if is_product(path):
        made = convert(path, settings.sen3, (settings.image_h, settings.image_w), np.float32)
        refs, bts = hdf5.ArrayRows(f"{path}: refs", made.refs), hdf5.ArrayRows(f"{path}: bts", made.bts)
        flags = hdf5.ArrayRows(f"{path}: bayes", made.bayes) if made.bayes is not None else None
        yield SceneReader(refs, bts, flags, settings)
        return
    with hdf5.open_file(path) as file:
        bayes = _rows(file, "bayes", "fiu") if file.has("bayes") else None
        yield SceneReader(_rows(file, "refs", "f"), _rows(file, "bts", "f"), bayes, settings)


def _rows(file: hdf5.Reader, name: str, kind: str) -> hdf5.Rows:
    """A dataset; a chunked one read as a whole, or its chunks would be unpacked anew for each block of rows."""
    dataset = file.dataset(name, kind)
    return dataset if dataset.contiguous else hdf5.ArrayRows(dataset.where, dataset.read())


class SceneReader:
    """Reflectances, temperatures and labels of one scene, their shapes checked against each other and the settings."""

    def __init__(
        self, reflectances: hdf5.Rows, temperatures: hdf5.Rows, bayes: Optional[hdf5.Rows], settings: DataSettings
    ):
        """bayes: None if the scene has no labels."""
        self._reflectances, self._temperatures, self._bayes, self._settings = (
            reflectances,
            temperatures,
            bayes,
            settings,
        )
        height, width = self.height, self.width = settings.image_h, settings.image_w
        coarse, fine = (height, width, REFLECTANCES), (2 * height, 2 * width, REFLECTANCES)
        _check_shape(temperatures, (height, width, TEMPERATURES), "(data.image_h, data.image_w)")
        if reflectances.shape not in (coarse, fine):
            raise UserError(
                f"{reflectances.where} has shape {reflectances.shape}, {coarse} (1 km grid) or {fine} (0.5 km grid) "
                "expected"
            )
        if bayes is not None:
            _check_shape(bayes, (height, width, 1))
        self._factor = 1 if reflectances.shape == coarse else 2
        self._scratch: dict = {}

    @property
    def has_labels(self) -> bool:
        return self._bayes is not None

    def image_rows(
        self, first: int, rows: int, left: int, columns: int, image: np.ndarray, measured: np.ndarray
    ) -> None:
        """Normalised pixels of a block of `rows` rows from `first` and `columns` columns from `left`.

        image: to fill, a view that broadcasts as [rows, *columns split in any way, 9] float32.
        measured: to fill, likewise without channels, uint8: 1 where there is any brightness temperature.
        """
        temperature = self._read(self._temperatures, first, rows)
        absent = _outside(temperature, self._settings.temperature_range_kelvin)
        measured[...] = 1
        if absent is not None:
            # Band by band: a reduction over an axis of 3 takes ten times as long.
            seen = ~(absent[..., 0] & absent[..., 1] & absent[..., 2])
            measured[...] = seen[:, left : left + columns].reshape(measured.shape)
        temperature -= 270.0
        temperature /= 22.0
        reflectance = self._read(self._reflectances, first * self._factor, rows * self._factor)
        if self._settings.missing == "mask":
            reflectance = self._without_missing(reflectance)
            if absent is not None:
                np.putmask(temperature, absent, 0.0)
        else:
            if self._factor == 2:
                reflectance, _ = _average_2x2(reflectance, None)
            reflectance -= 0.5
            for values, source in ((reflectance, self._reflectances), (temperature, self._temperatures)):
                if not np.isfinite(values.max() - values.min()):
                    raise UserError(
                        f"{source.where} holds NaN or infinite values, of which the reference's way makes a network of "
                        "NaN: set data.missing: mask"
                    )
        # Six and three floats as one item each: copied float by float, with inner loops so short, it takes three times
        # as long, and channel by channel it goes through the image's memory nine times.
        pixels = image.view(_PIXEL)[..., 0]
        for name, values in (("reflectance", reflectance), ("temperature", temperature)):
            items = values[:, left : left + columns].view(_PIXEL[name])[..., 0]
            pixels[name] = items.reshape(pixels.shape)

    def _without_missing(self, reflectance: np.ndarray) -> np.ndarray:
        """Normalised, on the 1 km grid, 0 where nothing was measured."""
        absent = _outside(reflectance, self._settings.reflectance_range)
        nothing = _all_zero(reflectance)
        if nothing is not None:
            if absent is None:
                absent = np.zeros(reflectance.shape, bool)
            absent |= nothing[..., np.newaxis]
        if self._factor == 2:
            reflectance, absent = _average_2x2(reflectance, absent)
        reflectance -= 0.5
        if absent is not None:
            np.putmask(reflectance, absent, 0.0)
        return reflectance

    def cloud_rows(self, first: int, rows: int, left: int, columns: int, cloud: np.ndarray) -> None:
        """1 where the Bayesian mask says cloud (> 0), into `cloud` (uint8, shaped as `measured` above)."""
        if self._bayes is None:
            where = self._temperatures.where.split(": ")[0]
            raise UserError(
                f"{where}: dataset 'bayes' is missing (of a product flags_in.nc): without labels it can only be masked"
            )
        flags = self._raw(self._bayes, first, rows)
        if flags.dtype.kind == "f" and not np.isfinite(flags).all():
            raise UserError(f"{self._bayes.where} holds NaN or infinite labels")
        cloud[...] = (flags[:, left : left + columns, 0] > 0).reshape(cloud.shape)

    def _read(self, source: hdf5.Rows, first: int, rows: int) -> np.ndarray:
        """Rows as float32, in memory that the next call takes again."""
        raw = self._raw(source, first, rows)
        if raw.dtype == np.float32:
            return raw
        values = self._memory(source.where, raw.shape, np.float32)
        with np.errstate(over="ignore"):  # a fill value of float64 becomes infinite
            values[...] = raw
        return values

    def _raw(self, source: hdf5.Rows, first: int, rows: int) -> np.ndarray:
        return source.read_rows(first, self._memory(source.where, (rows, *source.shape[1:]), source.dtype))

    def _memory(self, name: str, shape: tuple, dtype) -> np.ndarray:
        key = name, shape, np.dtype(dtype)
        if key not in self._scratch:
            self._scratch[key] = np.empty(shape, dtype)
        return self._scratch[key]


def _check_shape(source: hdf5.Rows, expected: tuple, hint: str = "") -> None:
    if source.shape != expected:
        raise UserError(f"{source.where} has shape {source.shape}, {expected} expected {hint}".rstrip())


def _outside(values: np.ndarray, valid: tuple) -> Optional[np.ndarray]:
    """Where `values` are NaN or outside the closed range; None if nowhere, which two quick passes tell."""
    low, high = valid
    if values.min() >= low and values.max() <= high:  # both are NaN if any value is
        return None
    return ~((values >= low) & (values <= high))


def _all_zero(values: np.ndarray) -> Optional[np.ndarray]:
    """Where all six reflectances are exactly 0, [rows, columns]; None if nowhere."""
    nothing = values[..., 0] == 0
    if not nothing.any():
        return None
    # Two channels an item: half as many passes. That -0.0 has a bit set does not matter here.
    pairs = values.view(np.uint64)
    return (pairs[..., 0] | pairs[..., 1] | pairs[..., 2]) == 0


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

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
from cloudmask.data.normalize import REFLECTANCES, TEMPERATURES, normalize
from cloudmask.data.plausible import Plausible
from cloudmask.sen3.conversion import cloudy, convert
from cloudmask.sen3.names import is_product
from cloudmask.sen3.product import Product, flags_of
from common.data import hdf5
from common.data.buffers import pool
from common.errors import UserError

CHANNELS = REFLECTANCES + TEMPERATURES
# Rows handled at a time: so few that they stay in a processor's cache from reading to writing. A scene that is read in
# such blocks comes twice as fast as in one piece.
ROWS = 32


# What a scene lacks whose labels are these.
_UNLABELLED = {
    "bayes": "dataset 'bayes' is missing; of a product bayes_in is, or is 255 in every pixel",
    "summary": "dataset 'summary' is missing; of a product confidence_in",
    "cloud": "dataset 'cloud' is missing; of a product cloud_in",
}


@contextmanager
def open_scene(path: str, settings: DataSettings) -> Iterator["SceneReader"]:
    """A scene's file, or a Sentinel-3 product converted on the way (data.sen3). Raises UserError."""
    if is_product(path):
        shape = settings.image_h, settings.image_w
        product = Product(path, settings.stripe)
        made = convert(
            product,
            settings.sen3,
            shape,
            np.float32,
            calibration=settings.calibration,
            cloud_tests=settings.cloud_tests,
            masks=(settings.labels,),
        )
        refs, bts = hdf5.ArrayRows(f"{path}: refs", made.refs), hdf5.ArrayRows(f"{path}: bts", made.bts)
        labels = getattr(made, settings.labels)
        flags = None if labels is None else hdf5.ArrayRows(f"{path}: {settings.labels}", labels)
        yield SceneReader(refs, bts, flags, settings, product)
        return
    with hdf5.open_file(path) as file:
        yield SceneReader(_rows(file, "refs", "f"), _rows(file, "bts", "f"), _labels(file, settings), settings)


def _labels(file: hdf5.Reader, settings: DataSettings) -> Optional[hdf5.Rows]:
    if not file.has(settings.labels):
        return None
    if settings.labels != "cloud":
        return _rows(file, settings.labels, "fiu")
    dataset = file.dataset("cloud", "iu")
    flags = flags_of(dataset.read(), dataset.attributes(), dataset.where)
    cloud = cloudy(flags, settings.cloud_tests, dataset.where)
    return hdf5.ArrayRows(dataset.where, cloud[..., np.newaxis].view(np.uint8))


def _rows(file: hdf5.Reader, name: str, kind: str) -> hdf5.Rows:
    """A dataset; a chunked one read as a whole, or its chunks would be unpacked anew for each block of rows."""
    dataset = file.dataset(name, kind)
    return dataset if dataset.contiguous else hdf5.ArrayRows(dataset.where, dataset.read())


class SceneReader:
    """Reflectances, temperatures and labels of one scene, their shapes checked against each other."""

    def __init__(
        self,
        reflectances: hdf5.Rows,
        temperatures: hdf5.Rows,
        labels: Optional[hdf5.Rows],
        settings: DataSettings,
        product: Optional[Product] = None,
    ):
        """labels: None if the scene has none. product: the one that the scene was converted from."""
        self.reflectances, self.temperatures, self.labels = reflectances, temperatures, labels
        self.product = product
        self._settings = settings
        if len(temperatures.shape) != 3:
            _check_shape(temperatures, (settings.image_h, settings.image_w, TEMPERATURES))
        height, width = self.height, self.width = temperatures.shape[:2]
        coarse, fine = (height, width, REFLECTANCES), (2 * height, 2 * width, REFLECTANCES)
        _check_shape(temperatures, (height, width, TEMPERATURES))
        if reflectances.shape not in (coarse, fine):
            raise UserError(
                f"{reflectances.where} has shape {reflectances.shape}, {coarse} (1 km grid) or {fine} (0.5 km grid) "
                "expected"
            )
        if labels is not None:
            _check_shape(labels, (height, width, 1))
        self._factor = 1 if reflectances.shape == coarse else 2
        self._scratch: dict = {}
        self._plausible = Plausible(settings)

    @property
    def has_labels(self) -> bool:
        return self.labels is not None

    def check_size(self, rows_off: int) -> None:
        """Raises UserError unless the scene has the settings' columns and, but for so many, their rows."""
        expected = (self._settings.image_h, self._settings.image_w, TEMPERATURES)
        if abs(self.height - expected[0]) > rows_off or self.width != expected[1]:
            _check_shape(self.temperatures, expected, "(data.image_h, data.image_w)")

    def check_labels(self) -> None:
        """Raises UserError for a scene without labels."""
        if self.labels is None:
            where, labels = self.temperatures.where.split(": ")[0], self._settings.labels
            raise UserError(
                f"{where}: has no labels for data.labels: {labels} ({_UNLABELLED[labels]}): without labels it can only "
                "be masked; leave it out, or choose others"
            )

    def image_rows(self, first: int, rows: int, left: int, image: np.ndarray, measured: np.ndarray) -> None:
        """Normalised pixels of a block of `rows` rows from `first`, columns from `left` on.

        image: to fill, [rows, parts, columns, 9] float32, a row's columns in any number of parts.
        measured: to fill, [rows, parts, columns] uint8: 1 where there is any brightness temperature.
        """
        settings, factor = self._settings, self._factor
        temperature = self._raw(self.temperatures, first, rows)
        reflectance = self._raw(self.reflectances, first * factor, rows * factor)
        self._plausible.see(reflectance, temperature)
        as_it_comes = settings.missing == "reference"
        if factor == 2:
            reflectance = _average_2x2(reflectance, None if as_it_comes else settings.reflectance_range)
        ranges = settings.reflectance_range, settings.temperature_range_kelvin
        if not normalize(reflectance, temperature, left, as_it_comes, ranges, image, measured):
            names = " or ".join(
                source.where
                for source, values in ((self.reflectances, reflectance), (self.temperatures, temperature))
                if not np.isfinite(values.astype(np.float32)).all()
            )
            raise UserError(
                f"{names} holds NaN or infinite values, of which the reference's way makes a network of NaN: set "
                "data.missing: mask"
            )

    def cloud_rows(self, first: int, rows: int, left: int, cloud: np.ndarray) -> None:
        """1 where the labels say cloud (> 0), into `cloud` (uint8, shaped as `measured` above)."""
        self.check_labels()
        assert self.labels is not None
        flags = self._raw(self.labels, first, rows)
        self._plausible.see_labels(flags, self.labels.where)
        columns = cloud.shape[1] * cloud.shape[2]
        cloud[...] = (flags[:, left : left + columns, 0] > 0).reshape(cloud.shape)

    def check_values(self) -> None:
        """Raises UserError if the rows that were read hold other things than reflectances, kelvin and flags."""
        labels = "" if self.labels is None else self.labels.where
        self._plausible.check(self.reflectances.where, self.temperatures.where, labels)

    def _raw(self, source: hdf5.Rows, first: int, rows: int) -> np.ndarray:
        if isinstance(source, hdf5.ArrayRows):
            return source.array[first : first + rows]
        return source.read_rows(first, self._memory(source.where, (rows, *source.shape[1:]), source.dtype))

    def _memory(self, name: str, shape: tuple, dtype) -> np.ndarray:
        key = name, shape, np.dtype(dtype)
        if key not in self._scratch:
            self._scratch[key] = pool.empty(shape, dtype)  # fresh memory costs more in page faults than reading does
        return self._scratch[key]


def _check_shape(source: hdf5.Rows, expected: tuple, hint: str = "") -> None:
    if source.shape != expected:
        raise UserError(f"{source.where} has shape {source.shape}, {expected} expected {hint}".rstrip())


def _average_2x2(values: np.ndarray, valid: Optional[tuple]) -> np.ndarray:
    """[2 rows, 2 columns, c] to [rows, columns, c] float32: the mean of those of the four pixels that were measured.

    valid: the closed range of measured values, all channels at 0 being none either; NaN where none of the four was.
    None takes every value.
    """
    values = np.asarray(values, np.float32)
    if valid is not None:
        known = (values >= valid[0]) & (values <= valid[1]) & values.any(-1, keepdims=True)
        if not known.all():
            values = np.where(known, values, 0)
            counts = known[0::2].astype(np.float32) + known[1::2]
            rows, count = values[0::2] + values[1::2], counts[:, 0::2] + counts[:, 1::2]
            return (rows[:, 0::2] + rows[:, 1::2]) / np.where(count, count, np.float32(np.nan))
    rows = values[0::2] + values[1::2]
    return (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)

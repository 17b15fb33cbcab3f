"""What is asked of one scene or product before it is trained on or masked."""

from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from cloudmask.config import DataSettings
from cloudmask.data import ancillary
from cloudmask.data.patch_grid import check_fits
from cloudmask.data.reader import ROWS, SceneReader, open_scene
from cloudmask.scoring import strata
from cloudmask.sen3 import names
from common.data import hdf5
from common.data.files import DataFile
from common.errors import UserError

_MOST_VALUES = 6  # of labels that are listed one by one
_EVEN, _UNEVEN = 1e-3, 3e-3  # relative spread of one sun's factor along a column: rounding; 0.1 degrees at least
_FEW = 100  # rows of a column that must have been measured to tell its spread


@dataclass
class Facts:
    """Shares are of pixels, 0 to 1, None where they are unknown. converter: dataset or dataset_last_row, by which of
    the two public converters the file was made. refused: why it cannot be masked; unlearnable: why not trained on."""

    path: str
    form: str
    pixels: tuple[int, ...] = ()
    types: str = ""
    without_temperature: Optional[float] = None
    without_reflectance: Optional[float] = None
    labels: str = ""
    cloud: Optional[float] = None
    sun: dict[str, float] = field(default_factory=dict)
    baseline: Optional[int] = None
    converter: str = ""
    remark: str = ""
    refused: str = ""
    unlearnable: str = ""


def gather(file: DataFile, settings: DataSettings) -> Facts:
    """Reads the scene as training and inference do. Never raises for what is wrong with it: that is a fact."""
    form = names.form(file.path)
    facts = Facts(file.path, form.title if form else "", baseline=names.baseline(file.path))
    try:
        with open_scene(file.path, settings) as scene:
            _of_scene(facts, scene, settings)
            try:
                scene.check_labels()
                check_fits(scene, settings, file.path)
            except UserError as error:
                facts.unlearnable = str(error)
            facts.sun = _sun(ancillary.read(file.path, product=scene.product), facts.pixels)
            if scene.product is not None:
                facts.baseline = scene.product.known_baseline()
        if scene.product is None:
            facts.converter = converter_of(file.path)
    except UserError as error:
        facts.refused = str(error)
    return facts


def _of_scene(facts: Facts, scene: SceneReader, settings: DataSettings) -> None:
    refs, bts, labels = scene.reflectances, scene.temperatures, scene.labels
    facts.pixels = scene.height, scene.width
    facts.types = " ".join(each.dtype.name for each in (refs, bts))
    if labels is not None:
        facts.types += f" {labels.dtype.name}"
    cold, dark, cloud, values = 0, 0, 0, np.empty(0)
    fine = refs.shape[0] // scene.height
    for first in range(0, scene.height, ROWS):
        rows = min(ROWS, scene.height - first)
        kelvin = bts.read_rows(first, np.empty((rows, *bts.shape[1:]), bts.dtype))
        light = refs.read_rows(first * fine, np.empty((rows * fine, *refs.shape[1:]), refs.dtype))
        cold += np.count_nonzero(~_within(kelvin, settings.temperature_range_kelvin).any(-1))
        lit = _within(light, settings.reflectance_range).any(-1) & (light != 0).any(-1)
        dark += np.count_nonzero(~lit)
        if labels is not None:
            flags = labels.read_rows(first, np.empty((rows, *labels.shape[1:]), labels.dtype))
            cloud += np.count_nonzero(flags > 0)
            values = np.union1d(values, flags)
    pixels = scene.height * scene.width
    facts.without_temperature, facts.without_reflectance = cold / pixels, dark / (pixels * fine**2)
    if labels is not None:
        facts.cloud, facts.labels = cloud / pixels, _in_words(values)
        if cloud == pixels:
            facts.remark = "every pixel is cloud: were there labels at all?"
    elif not facts.unlearnable:
        facts.labels = "none"


def _sun(beside: ancillary.Ancillary, shape: tuple[int, ...]) -> dict[str, float]:
    """Shares of day, twilight and night, over the pixels that the swath covers."""
    places = strata(beside, shape)
    flags = beside.confidence
    covered = None if flags is None else ~flags.any_of("unfilled")
    shares = {}
    for name in ("day", "twilight", "night"):
        if name in places:
            place = places[name] if covered is None or covered.shape != places[name].shape else places[name][covered]
            shares[name] = float(place.mean()) if place.size else 0.0
    return shares


def _within(values: np.ndarray, valid: tuple[float, float]) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return (values >= valid[0]) & (values <= valid[1])


def _in_words(values: np.ndarray) -> str:
    if len(values) > _MOST_VALUES:
        return f"{len(values)}: {values[0]:g} to {values[-1]:g}"
    return " ".join(f"{value:g}" for value in values)


def converter_of(path: str) -> str:
    """Which of the two public versions of the data set's converter made a file: refs / rads is pi / (E0 cos(zenith)),
    which is the same in every row of a column where the sun of the last row was taken for all. Empty where it cannot
    be told: without rads, by night, or from too few pixels. Raises UserError."""
    with hdf5.open_file(path) as file:
        if not (file.has("rads") and file.has("refs")):
            return ""
        refs, rads = (file.dataset(name, "f").read() for name in ("refs", "rads"))
    if refs.shape != rads.shape or refs.ndim != 3:
        return ""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = refs[:, ::16, 0] / rads[:, ::16, 0]
    ratio[~(np.isfinite(ratio) & (ratio > 0))] = np.nan
    ratio = ratio[:, np.isfinite(ratio).sum(0) >= min(_FEW, len(ratio) // 2)]
    if not ratio.size:
        return ""
    low, middle, high = np.nanpercentile(ratio, [2, 50, 98], axis=0)
    along, across = np.median((high - low) / middle), np.ptp(middle) / np.median(middle)
    if along > _UNEVEN:
        return "dataset"
    return "dataset_last_row" if along < _EVEN < across else ""

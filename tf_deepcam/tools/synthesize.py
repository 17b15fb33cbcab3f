"""Synthetic samples from simple meteorology, in the real format, with labels by rule from the fields without noise.

A sample is a piece of the globe on the CAM5 grid (0.234 degrees; 768 rows reach from pole to pole): zonal mean climate,
fractal weather, terrain, and two kinds of events:

- tropical cyclones, warm-core vortices at 8 to 30 degrees: low pressure, winds turning with the hemisphere, a warm
  core aloft, rain and moisture (wind profile r / R exp(1 - r / R), R the radius of maximum wind);
- atmospheric rivers, long moist filaments from the subtropics poleward and eastward, with wind along them.

Labels follow from zonal means and events alone: tropical cyclone where the wind at 850 hPa exceeds 17 m/s and the core
at 500 hPa is more than 1 K too warm; atmospheric river where the column holds over 8 kg/m2 more water than the zonal
mean and the wind exceeds 10 m/s. TECA's detectors, which labelled the real data, use thresholds on the same quantities
(Prabhat et al., "TECA: Petascale pattern recognition for climate science", CAIP 2015); the thresholds here are rounded.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from rich.progress import track

from common.data import new_file
from common.data.files import make_folder
from common.data.random_fields import fractal
from common.runs.collection import filling
from tf_deepcam.data import samples
from tf_deepcam.data.channels import CAM5
from tf_deepcam.tools import summarize

_DEGREES = 180.0 / 768.0  # a grid cell
_CYCLONES, _RIVERS = 1.2, 5.7  # mean numbers on the whole globe, which give the real data's class shares


@dataclass
class Clean:
    """Fields without noise, [height, width] float32."""

    moisture: np.ndarray  # column water, kg/m2
    moisture_excess: np.ndarray  # above the zonal mean
    eastward: np.ndarray  # wind at 850 hPa, m/s
    northward: np.ndarray
    pressure: np.ndarray  # at sea level, Pa
    warm_core: np.ndarray  # K
    rain: np.ndarray  # m/s


def make_sample(seed: int, number: int, height: int = 768, width: int = 1152, events: float = 1.0) -> tuple:
    """Make sample `number` of collection `seed`.

    Args:
        seed: of the collection.
        number: of the sample in it.
        height: pixels, a multiple of 16.
        width: pixels, a multiple of 16.
        events: factor on the number of cyclones and rivers for the area.

    Returns:
        Fields [height, width, 16] float32 and labels [height, width] int32.
    """
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    span = height * _DEGREES
    centre = rng.uniform(-1, 1) * max(0.0, min(40.0, 90.0 - span / 2))
    latitude = np.linspace(centre - span / 2, centre + span / 2, height, dtype=np.float32)  # south first
    clean = _zonal_means(latitude, width)
    share = events * height * width / (768 * 1152)
    for _ in range(rng.poisson(_RIVERS * share)):
        _add_river(rng, clean, latitude)
    for _ in range(rng.poisson(_CYCLONES * share)):
        _add_cyclone(rng, clean, latitude)
    return _with_weather(rng, clean, latitude), label(clean)


def label(clean: Clean) -> np.ndarray:
    """Label fields by rule: 0 background, 1 tropical cyclone, 2 atmospheric river, [height, width] int32."""
    wind = np.hypot(clean.eastward, clean.northward)
    river = (clean.moisture_excess > 8.0) & (wind > 10.0)
    cyclone = (wind > 17.0) & (clean.warm_core > 1.0)
    return np.where(cyclone, 1, np.where(river, 2, 0)).astype(np.int32)


def _zonal_means(latitude: np.ndarray, width: int) -> Clean:
    def wide(profile: np.ndarray) -> np.ndarray:
        return np.repeat(profile.astype(np.float32)[:, np.newaxis], width, 1)

    shape = (len(latitude), width)
    westerlies = 9.0 * np.exp(-(((np.abs(latitude) - 45) / 13) ** 2)) - 5.0 * np.exp(-((latitude / 18) ** 2))
    return Clean(
        moisture=wide(6.0 + 40.0 * np.exp(-((latitude / 24) ** 2))),
        moisture_excess=np.zeros(shape, np.float32),
        eastward=wide(westerlies),
        northward=np.zeros(shape, np.float32),
        pressure=wide(101200.0 + 600.0 * np.cos(np.radians(6 * (np.abs(latitude) - 30)))),
        warm_core=np.zeros(shape, np.float32),
        rain=wide(3e-8 * np.exp(-((latitude / 9) ** 2)) + 1e-8),
    )


def _draw_row(rng: np.random.Generator, latitude: np.ndarray, low: float, high: float):
    """A random row `low` to `high` degrees from the equator, and the sign of its hemisphere; None without such rows."""
    rows = np.flatnonzero((np.abs(latitude) >= low) & (np.abs(latitude) <= high))
    if not len(rows):
        return None
    row = int(rng.choice(rows))
    return row, float(np.sign(latitude[row]))


def _add_cyclone(rng: np.random.Generator, clean: Clean, latitude: np.ndarray) -> None:
    drawn = _draw_row(rng, latitude, 8, 30)
    if drawn is None:
        return
    (row, hemisphere), column = drawn, int(rng.integers(clean.moisture.shape[1]))
    radius = rng.uniform(3.5, 5.5)  # of maximum wind, in cells
    strength = rng.uniform(0.75, 1.25)
    reach = int(7 * radius)
    height, width = clean.moisture.shape
    box = np.s_[
        max(0, row - reach) : min(height, row + reach + 1), max(0, column - reach) : min(width, column + reach + 1)
    ]
    rows, columns = np.mgrid[box].astype(np.float32)
    north, east = rows - row, columns - column
    distance = np.sqrt(north**2 + east**2) + 1e-3
    ratio = distance / radius
    speed = 42.0 * strength * ratio * np.exp(1.0 - ratio)
    clean.eastward[box] -= hemisphere * speed * north / distance
    clean.northward[box] += hemisphere * speed * east / distance
    core = np.exp(-((ratio / 1.7) ** 2))
    clean.pressure[box] -= 4500.0 * strength * np.exp(-((ratio / 2) ** 2))
    clean.warm_core[box] += 7.0 * strength * core
    clean.rain[box] += 4e-7 * strength * np.exp(-((ratio - 1) ** 2))
    clean.moisture[box] += 18.0 * strength * core


def _add_river(rng: np.random.Generator, clean: Clean, latitude: np.ndarray) -> None:
    drawn = _draw_row(rng, latitude, 18, 32)
    if drawn is None:
        return
    (start, hemisphere), width = drawn, clean.moisture.shape[1]
    length = rng.uniform(60, 110)  # rows, poleward
    slope, bend = rng.uniform(0.8, 2.2), rng.uniform(-0.004, 0.008)
    thickness = rng.uniform(6, 10)  # half width across, in cells
    first_column = rng.uniform(-0.2, 0.9) * width
    along = hemisphere * (np.arange(len(latitude), dtype=np.float32) - start)  # rows poleward of the start
    rows = np.flatnonzero((along > -10) & (along < length + 10))
    if not len(rows):
        return
    box = np.s_[rows[0] : rows[-1] + 1]
    along = along[box][:, np.newaxis]
    tilt = slope + 2 * bend * along
    across = (np.arange(width, dtype=np.float32) - (first_column + slope * along + bend * along**2)) / np.hypot(1, tilt)
    taper = np.clip(np.minimum(along + 5, length + 5 - along) / 10, 0, 1)
    profile = (np.exp(-((across / thickness) ** 2)) * taper).astype(np.float32)
    excess = rng.uniform(18, 26) * profile
    clean.moisture[box] += excess
    clean.moisture_excess[box] += excess
    speed = rng.uniform(18, 28) * profile / np.hypot(1, tilt)
    clean.eastward[box] += speed * tilt
    clean.northward[box] += speed * hemisphere
    clean.rain[box] += 1e-7 * profile


def _with_weather(rng: np.random.Generator, clean: Clean, latitude: np.ndarray) -> np.ndarray:
    """The 16 channels: clean fields, what follows from them, terrain and fractal noise."""
    shape = clean.moisture.shape
    noise = [fractal(rng, shape, 1.6) for _ in range(5)]
    smooth = [fractal(rng, shape, 2.2, coarse=4) for _ in range(3)]
    fields = np.empty((*shape, len(CAM5)), np.float32)
    polar = (np.sin(np.radians(latitude)) ** 2)[:, np.newaxis]
    terrain = np.clip(fractal(rng, shape, 1.9) - 0.8, 0, None) * 900.0  # m
    land = np.clip(terrain / 100.0, 0, 1)
    moisture = np.maximum(clean.moisture * (1 + 0.06 * noise[0]), 0.3)
    east, north = clean.eastward + 2.0 * noise[1] + smooth[0], clean.northward + 2.0 * noise[2] + smooth[1]
    pressure = clean.pressure + 350.0 * smooth[2] + 60.0 * noise[3]
    surface = 301.0 - 48.0 * polar + 1.5 * smooth[0] - land * 3.0 * noise[4] - 0.0065 * terrain
    storm = np.exp(0.9 * noise[4] - 0.4)
    values = {
        "TMQ": moisture,
        "U850": east,
        "V850": north,
        "UBOT": 0.75 * east + 0.7 * noise[3],
        "VBOT": 0.75 * north + 0.7 * noise[4],
        "QREFHT": 0.0008 + 0.00032 * moisture + 0.0003 * noise[2],
        "PS": pressure * np.exp(-terrain / 8200.0),
        "PSL": pressure,
        "T200": 219.0 - 5.0 * polar + 0.6 * clean.warm_core + 0.8 * smooth[1],
        "T500": 268.0 - 30.0 * polar + clean.warm_core + 0.5 * noise[1] + smooth[0],
        "PRECT": clean.rain * storm,
        "TS": surface,
        "TREFHT": surface - 1.0 + 0.5 * noise[0],
        "Z1000": (pressure - 100000.0) / 11.8,
        "Z200": 12350.0 - 1300.0 * polar + 40.0 * smooth[2] + 8.0 * clean.warm_core,
        "ZBOT": 62.0 - 9.0 * polar + 0.5 * noise[1],
    }
    for channel, (name, _, _) in enumerate(CAM5):
        fields[..., channel] = values[name]
    return fields


def sample_name(number: int) -> str:
    """Return a file name like the archive's: date and hour of a three-hourly model output, and the run."""
    seconds = 946684800 + 10800 * number  # from 2000-01-01
    return time.strftime("data-%Y-%m-%d-%H-1.h5", time.gmtime(seconds))


def write_sample(path: Path, fields: np.ndarray, labels: np.ndarray) -> None:
    """Write a sample as a new file. Raises UserError if the file exists."""
    with new_file.write_file(path) as file:
        file.create_dataset(samples.DATA, data=fields)
        file.create_dataset(samples.LABELS, data=labels)
        names = h5py.string_dtype()
        file["climate"].attrs.create("channels", [each.name for each in CAM5], dtype=names)
        file["climate"].attrs.create("units", [each.unit for each in CAM5], dtype=names)
        file.attrs["source"] = "made up by tf_deepcam.synthesize; not a model output"


class Collection(NamedTuple):
    """Samples to make."""

    folder: str
    train: int = 8  # samples
    validation: int = 2  # samples
    height: int = 768  # pixels, a multiple of 16
    width: int = 1152  # pixels, a multiple of 16
    events: float = 1.0  # factor on the number of cyclones and rivers for the area; more for small tiles
    seed: int = 0  # sample n depends only on (seed, n)


def main(collection: Collection) -> int:
    """Write train/, validation/ and stats.h5; existing files are kept, so an interrupted call can be repeated.

    Returns:
        The exit code.

    Raises:
        UserError: if the folder holds samples that were made otherwise, or a folder or a file cannot be written.
    """
    root, count = Path(collection.folder).expanduser(), collection.train + collection.validation
    # With more training samples, those of validation would be among them.
    recipe = {name: value for name, value in collection._asdict().items() if name not in ("folder", "validation")}
    filled = any(True for part in ("train", "validation") for _ in (root / part).glob(samples.PATTERN))
    with filling(root, recipe, count, filled=filled):
        _make(collection, root)
    return 0


def _make(collection: Collection, root: Path) -> None:
    started, written, total = time.perf_counter(), 0, collection.train + collection.validation
    shares = np.zeros(samples.CLASSES)
    show = sys.stdout.isatty()
    for number in track(range(total), "samples", transient=True) if show else range(total):
        path = root / ("train" if number < collection.train else "validation") / sample_name(number)
        if path.exists():
            continue
        make_folder(path.parent)
        fields, labels = make_sample(collection.seed, number, collection.height, collection.width, collection.events)
        write_sample(path, fields, labels)
        shares += np.bincount(labels.ravel(), minlength=samples.CLASSES)
        written += 1
    seconds = time.perf_counter() - started
    kept = f", {total - written} were there already" if written < total else ""
    print(f"{written} samples of {collection.height} x {collection.width} written to {root} in {seconds:.1f} s{kept}")
    if written:
        shares /= shares.sum()
        print(f"class shares: background {shares[0]:.2%}, tropical cyclone {shares[1]:.3%}, river {shares[2]:.2%}")
    if not (root / "stats.h5").exists():
        summarize.main(str(root))

"""Scenes made up from simple physics, of the real size, that no single threshold can screen.

A scene is a piece of the Earth at some latitude: sea and land with a fractal coast, vegetation, desert or snow, sun
glint on the sea; low clouds as warm as the ground nearly, high cold ones, thin cirrus; some scenes at the terminator,
where reflectances grow without bound, or in the night; swath edges without data. The nine channels follow from surface
and clouds as in a one-layer radiation model: reflectances mix by tau / (tau + 8), temperatures by emissivity
1 - exp(-tau / 2). The truth is cloud where the visible optical thickness exceeds 0.3. Two masks stand beside it that
make mistakes: the labels (cloudmask.tools.label_errors), and an operational one to which bright or cold is cloud.

Channels and their typical values: SLSTR bands S1 0.55, S2 0.66, S3 0.87, S4 1.37, S5 1.61, S6 2.25 micrometres, and
S7 3.74, S8 10.85, S9 12.0. At 1.37 the water vapour hides the ground and low clouds, at 1.6 and 2.2 snow and ice are
dark while low clouds are bright, at 3.7 sunlight adds to a cloud's own heat (Coppo et al., "SLSTR: a high accuracy
dual scan temperature radiometer", Journal of Modern Optics, 2010, for the bands; the values here are round numbers).
"""

from dataclasses import dataclass

import numpy as np

from cloudmask.sen3 import NIGHT_DEGREES
from cloudmask.sen3.writer import Zenith
from cloudmask.tools import label_errors
from cloudmask.tools.label_errors import CIRRUS, HIGH_CLOUD, LOW_CLOUD
from common.data.random_fields import fractal

_CLOUD_THICKNESS = 0.3
_OF_LABELS = 1  # third word of the seed of the labels' errors
_NOISE = 0.004  # of a reflectance under the sun in the zenith

# Reflectance of each surface and cloud in S1 ... S6.
_REFLECTANCE = {
    "sea": (0.06, 0.04, 0.03, 0.00, 0.015, 0.01),
    "vegetation": (0.08, 0.06, 0.35, 0.00, 0.22, 0.10),
    "desert": (0.26, 0.36, 0.44, 0.01, 0.52, 0.45),
    "snow": (0.85, 0.84, 0.78, 0.02, 0.10, 0.08),
    "glint": (0.45, 0.45, 0.46, 0.01, 0.44, 0.42),
    "low": (0.75, 0.75, 0.74, 0.02, 0.60, 0.42),
    "high": (0.85, 0.85, 0.82, 0.40, 0.35, 0.22),
    "cirrus": (0.80, 0.80, 0.78, 0.55, 0.30, 0.20),
}


@dataclass(frozen=True)
class Scene:
    """refs [H, W, 6] reflectance and bts [H, W, 3] kelvin, float32 with NaN where nothing was measured; truth and
    bayes, the labels, [H, W, 1] uint8, 0 where clear; summary [H, W] bool; surface: where it is land, ocean, coastline,
    sun_glint and snow, [H, W] bool; latitude and longitude, [H, W] degrees."""

    refs: np.ndarray
    bts: np.ndarray
    truth: np.ndarray
    bayes: np.ndarray
    summary: np.ndarray
    zenith: Zenith
    surface: dict[str, np.ndarray]
    latitude: np.ndarray
    longitude: np.ndarray

    @property
    def sun(self) -> np.ndarray:
        """Zenith angle in degrees, [H, W]."""
        height, width = self.summary.shape
        return self.zenith.at(np.arange(height), np.arange(width))

    @property
    def by_night(self) -> bool:
        """Whether more than half of it lies in the night."""
        return float(np.median(self.sun[::16, ::16])) >= NIGHT_DEGREES


def _above(field: np.ndarray, share: float) -> np.ndarray:
    """`field` shifted so that about `share` of its pixels are positive (from every 97th pixel)."""
    return field - np.float32(np.quantile(field.reshape(-1)[::97], 1.0 - share))


def _smooth(field: np.ndarray, width: float) -> np.ndarray:
    """0 to 1 across `width` around 0."""
    return np.clip(field / np.float32(width) + np.float32(0.5), 0.0, 1.0)


def make_scene(seed: int, number: int, height: int = 1200, width: int = 1500, label_error: float = 0.0) -> Scene:
    """Scene `number` of the collection `seed`. label_error: share of the labels that are wrong; all else is the same
    whatever it is."""
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    shape = (height, width)
    latitude = np.linspace(0, -height / 111.0, height, dtype=np.float32)[:, np.newaxis] + np.float32(
        rng.uniform(-58, 70)
    )
    cover, ground_kelvin = _surface(rng, shape, latitude)
    thickness, top_kelvin = _clouds(rng, shape, ground_kelvin)
    zenith = _sun(rng, shape)
    degrees = zenith.at(np.arange(height), np.arange(width))
    sun = np.where(degrees < NIGHT_DEGREES, np.cos(np.deg2rad(degrees)), 0.0).astype(np.float32)
    refs, bts = _radiation(rng, cover, ground_kelvin, thickness, top_kelvin, sun, np.abs(latitude))
    summary = ((refs[..., 0] > 0.35) & (sun > 0.1)) | (bts[..., 1] < 283.0 - 0.0085 * latitude**2)
    if not (sun > 0).any():
        refs[:] = np.nan  # the channels that need the sun are switched off
    _cut_swath(rng, refs, bts)
    truth = np.zeros(shape, np.uint8)
    for bit, kind in ((LOW_CLOUD, "low"), (HIGH_CLOUD, "high"), (CIRRUS, "cirrus")):
        truth |= np.where(thickness[kind] > _CLOUD_THICKNESS, np.uint8(bit), np.uint8(0))
    share = cover["vegetation"] + cover["desert"] + cover["snow"]
    land, coast = share > 0.5, (share > 0.1) & (share < 0.9)
    surface = {"land": land, "ocean": ~land, "coastline": coast}
    surface |= {"sun_glint": cover["glint"] > 0.1, "snow": cover["snow"] > 0.5}
    suspect = label_errors.suspects(truth, thickness["cirrus"], sun, surface)
    own_rng = np.random.Generator(np.random.PCG64([seed, number, _OF_LABELS]))
    bayes = label_errors.flip(own_rng, truth, suspect, label_error)
    longitude = rng.uniform(-150, 130) + np.arange(width) / (111.0 * np.cos(np.deg2rad(latitude)))
    everywhere = np.broadcast_to(latitude, shape)
    labels = truth[..., np.newaxis], bayes[..., np.newaxis]
    return Scene(refs, bts, *labels, summary, zenith, surface, everywhere, longitude)


def _surface(rng: np.random.Generator, shape: tuple, latitude: np.ndarray) -> tuple:
    """Share of each surface type by pixel, and the ground's temperature in kelvin."""
    heights = fractal(rng, shape, 1.9)
    land = _smooth(_above(heights, rng.uniform(0.15, 0.75)), 0.04)
    away = np.abs(latitude)
    climate = fractal(rng, shape, 2.2, coarse=8)
    ground = 301.0 - 0.0085 * away**2 + 1.2 * climate
    ground = ground + land * (rng.uniform(-9, 12) - 4.0 * np.clip(heights, 0, 3) + 1.5 * climate)
    snow = land * _smooth(271.0 - ground + 2 * climate, 3.0)
    dryness = _smooth(_above(climate, 0.35) - 0.03 * np.abs(away - 25), 0.6)
    desert = (land - snow) * dryness
    rows, columns = np.mgrid[0 : shape[0] : 1, 0 : shape[1] : 1].astype(np.float32)
    centre, spread = rng.uniform(0.1, 0.9) * shape[1], rng.uniform(0.06, 0.14) * shape[1]
    tilt = rng.uniform(-0.25, 0.25)
    glint = np.exp(-(((columns - centre - tilt * rows) / spread) ** 2)) * rng.uniform(0.2, 1.0)
    glint = (1.0 - land) * glint * _smooth(62.0 - away, 10.0) * (1 + 0.15 * climate)
    cover = {"snow": snow, "desert": desert, "vegetation": land - snow - desert, "glint": glint}
    cover["sea"] = np.clip(1.0 - land - glint, 0.0, 1.0)
    return cover, ground.astype(np.float32)


def _clouds(rng: np.random.Generator, shape: tuple, ground_kelvin: np.ndarray) -> tuple:
    """Optical thickness and top temperature in kelvin of each kind of cloud."""
    low = _above(fractal(rng, shape, 1.5), rng.uniform(0.15, 0.5))
    high = _above(fractal(rng, shape, 1.75), rng.uniform(0.08, 0.3))
    cirrus = _above(fractal(rng, shape, 1.7, coarse=2, stretch=rng.uniform(0.25, 0.5)), rng.uniform(0.05, 0.25))
    thickness = {
        "low": np.clip(low, 0, None) ** 1.2 * rng.uniform(12, 25),
        "high": np.clip(high, 0, None) ** 1.2 * rng.uniform(20, 40),
        "cirrus": np.clip(cirrus, 0, None) * rng.uniform(1.0, 2.2),
    }
    top = {
        "low": ground_kelvin - rng.uniform(3, 9) - 5.0 * np.clip(low, 0, 2),
        "high": np.maximum(ground_kelvin - 35.0 - 25.0 * np.clip(high, 0, 1.5), 205.0),
        "cirrus": np.full_like(ground_kelvin, rng.uniform(215, 235)),
    }
    return thickness, top


def _sun(rng: np.random.Generator, shape: tuple) -> Zenith:
    """Zenith angle of the sun, rising by some ten degrees. One scene in four lies at the terminator or in the night."""
    kind = rng.uniform()
    centre = rng.uniform(84, 93) if kind < 0.125 else rng.uniform(105, 130) if kind < 0.25 else rng.uniform(25, 65)
    along, across = rng.uniform(-10, 10) / shape[0], rng.uniform(-10, 10) / shape[1]
    return Zenith(centre - along * shape[0] / 2 - across * shape[1] / 2, along, across)


def _radiation(
    rng, cover: dict, ground: np.ndarray, thickness: dict, top: dict, sun: np.ndarray, away: np.ndarray
) -> tuple:
    """Reflectances [H, W, 6] and brightness temperatures [H, W, 3], with instrument noise. From the ground upwards."""
    shape = ground.shape
    kinds = ("low", "high", "cirrus")
    opacity = {kind: thickness[kind] / (thickness[kind] + np.float32(8.0)) for kind in kinds}
    emissivity = {kind: 1.0 - np.exp(-0.5 * thickness[kind]) for kind in kinds}
    refs = np.empty((*shape, 6), np.float32)
    solar = np.zeros(shape, np.float32)
    for band in range(6):
        light = sum(cover[name] * np.float32(_REFLECTANCE[name][band]) for name in cover)
        if band == 3:
            light *= np.float32(0.1)
        for kind in kinds:
            light += (np.float32(_REFLECTANCE[kind][band]) - light) * opacity[kind]
        if band == 5:
            solar = light
        light = light * sun + _NOISE * rng.standard_normal(shape, np.float32)
        # What the instrument sees, by the height of the sun; by night, as the data set's converter has it, as it is.
        refs[..., band] = np.maximum(light, 0.0) / np.where(sun > 0, sun, 1)
    thermal = ground
    for kind in kinds:
        thermal = thermal + (top[kind] - thermal) * emissivity[kind]
    moisture = np.clip(3.2 - 0.05 * away, 0.2, None)  # water vapour absorbs more at 12 than at 11 micrometres
    split = moisture * (thermal - 220.0) / 80.0 + 2.0 * emissivity["cirrus"] * (1.0 - emissivity["cirrus"])
    bts = np.empty((*shape, 3), np.float32)
    bts[..., 0] = thermal + 26.0 * solar * sun + 2.5 * emissivity["cirrus"] * (1.0 - emissivity["cirrus"])
    bts[..., 1] = thermal
    bts[..., 2] = thermal - split
    bts += 0.12 * rng.standard_normal((*shape, 3), np.float32)
    return refs, np.clip(bts, 180.0, 345.0, out=bts)


def _cut_swath(rng: np.random.Generator, refs: np.ndarray, bts: np.ndarray) -> None:
    """No data left and right of the slanted swath, and in a few lost scan lines."""
    height, width = refs.shape[:2]
    slant = np.linspace(0, rng.uniform(0, 40), height).astype(int)
    left, right = int(rng.integers(0, 30)), int(rng.integers(0, 30))
    for row in range(height):
        for values in (refs, bts):
            values[row, : left + slant[row]] = np.nan
            values[row, width - right - slant[-1] + slant[row] :] = np.nan
    for row in rng.integers(0, height, int(rng.integers(0, 4))):
        refs[row], bts[row] = np.nan, np.nan

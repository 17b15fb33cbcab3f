"""Where the pixels of a swath lie, anywhere on the sphere, and what GDAL's programs say of a file."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cloudmask.data.ancillary import Ancillary
from cloudmask.sen3.coordinates import microdegrees

NAME = "S3B_SL_1_RBT____20200101T101500_20200101T101800_20200102T151515_0179_026_179_2160_LN2_O_NT_005"


def swath(shape: tuple[int, int], latitude: float, longitude: float, heading: float = 195.0) -> tuple:
    """Latitudes and longitudes [H, W], degrees, of pixels 1 km apart, flown towards `heading`, the middle one here."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    along, across = (rows - shape[0] // 2) / 6371.0, (columns - shape[1] // 2) / 6371.0
    phi, theta, course = np.radians([latitude, longitude, heading])
    up = np.array([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)])
    east = np.array([-np.sin(theta), np.cos(theta), 0.0])
    forward = np.cos(course) * np.cross(up, east) + np.sin(course) * east
    track = np.cos(along)[..., None] * up + np.sin(along)[..., None] * forward
    place = np.cos(across)[..., None] * track + np.sin(across)[..., None] * np.cross(forward, up)
    return np.degrees(np.arcsin(place[..., 2])), np.degrees(np.arctan2(place[..., 1], place[..., 0]))


def located(latitude: np.ndarray, longitude: np.ndarray) -> Ancillary:
    return Ancillary(latitude=microdegrees(latitude), longitude=microdegrees(longitude))


def gdal(program: str, *words, given: str = "") -> str:
    """What a program of Debian's gdal-bin prints; the test is skipped where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian's gdal-bin)")
    done = subprocess.run([program, *map(str, words)], input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def values_at(path: Path, places: list[tuple[float, float]]) -> list[int]:
    """A GeoTIFF's bands at places (latitude, longitude) inside of it, one after the other, by GDAL."""
    given = "".join(f"{longitude} {latitude}\n" for latitude, longitude in places)
    return [int(word) for word in gdal("gdallocationinfo", "-valonly", "-wgs84", path, given=given).split()]


def gdalinfo(path) -> dict:
    return json.loads(gdal("gdalinfo", "-json", path))

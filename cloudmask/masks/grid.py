"""A scene's pixels on a map: a regular grid, and for each of its pixels the nearest of the scene.

Nearest means on the sphere, by a k-d tree of directions (scipy), for which the antimeridian and the poles are places
like any other. A pixel of the map farther from all pixels of the scene than half a pixel's diagonal lies outside of it,
so that nothing is smeared over gaps and edges. Warps by GDAL's geolocation arrays and by pyresample were tried beside
it (docs/decisions/008-masks-on-maps.md).
"""

import math
from typing import Callable, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

_SLACK = 1.05  # pixels are not all of one size
_NODES = 16  # pixels of the map between two whose directions are computed; those between are interpolated, to 20 m
_AT_ONCE = 2**18  # pixels of the map


class Grid(NamedTuple):
    """A map's pixels: its outer corner in the map's coordinates, a pixel's size, and how many there are."""

    west: float
    north: float
    step_x: float
    step_y: float
    width: int
    height: int


def around(x: np.ndarray, y: np.ndarray, step_x: float, step_y: float) -> Grid:
    """The smallest grid around these points, whose lines are multiples of the steps, so that scenes' grids match."""
    left, right = np.floor(x.min() / step_x), np.floor(x.max() / step_x) + 1
    bottom, top = np.floor(y.min() / step_y), np.floor(y.max() / step_y) + 1
    return Grid(left * step_x, top * step_y, step_x, step_y, int(right - left), int(top - bottom))


def unwrapped(longitude: np.ndarray) -> np.ndarray:
    """Longitudes [n] in degrees without a jump at the antimeridian: from their widest gap eastwards, so that some may
    exceed 180."""
    ring = np.sort(longitude % 360.0)
    gaps = np.diff(ring, append=ring[0] + 360.0)
    first = ring[(int(np.argmax(gaps)) + 1) % len(ring)]
    first = (first + 180.0) % 360.0 - 180.0 - 1e-6  # a little west of the first, which rounding would else move round
    return first + (longitude - first) % 360.0


def directions(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Unit vectors [..., 3] float64 of places in degrees."""
    latitude, longitude = np.radians(latitude), np.radians(longitude)
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=-1)


def reach(places: np.ndarray) -> float:
    """Half of a pixel's diagonal, the median over a scene, as the length of a vector between directions.

    Args:
        places: [H, W, 3] directions, NaN where unknown.
    """
    sides = []
    for axis in (0, 1):
        distances = np.linalg.norm(np.diff(places, axis=axis), axis=-1)
        distances = distances[np.isfinite(distances)]
        sides.append(float(np.median(distances)) if distances.size else 0.0)
    return _SLACK / 2 * math.hypot(*(side or max(sides) for side in sides))


Locate = Callable[[np.ndarray, np.ndarray], np.ndarray]  # a map's x and y to directions, NaN outside the map's domain


def nearest(places: np.ndarray, grid: Grid, locate: Locate) -> np.ndarray:
    """Number of the scene's pixel, in C order, that is nearest to each pixel of the map: [height, width] int32.

    -1 where there is none within reach.

    Args:
        places: [H, W, 3] directions of the scene's pixels, NaN where unknown.
        grid: the map's pixels.
        locate: from the map's coordinates to directions.
    """
    known = np.flatnonzero(np.isfinite(places[..., 0]))
    tree = cKDTree(places.reshape(-1, 3)[known], balanced_tree=False)
    numbers, most = np.append(known, -1).astype(np.int32), reach(places)
    rows, columns = _nodes(grid.height), _nodes(grid.width)
    corners = locate(
        *np.broadcast_arrays(grid.west + columns * grid.step_x, (grid.north - rows * grid.step_y)[:, np.newaxis])
    )
    corners[~np.isfinite(corners).all(-1)] = 0.0  # the Earth's centre, which is near no place
    found = np.empty((grid.height, grid.width), np.int32)
    at_once = max(1, _AT_ONCE // grid.width)
    for first in range(0, grid.height, at_once):
        last = min(first + at_once, grid.height)
        wanted = _between(_between(corners, rows, first, last).swapaxes(0, 1), columns, 0, grid.width).swapaxes(0, 1)
        _, index = tree.query(wanted, distance_upper_bound=most)
        found[first:last] = numbers[index]
    return found


def _nodes(length: int) -> np.ndarray:
    """Every 16th of the edges 0 to `length` of pixels, and the last."""
    return np.append(np.arange(0, length, _NODES), length)


def _between(corners: np.ndarray, nodes: np.ndarray, first: int, last: int) -> np.ndarray:
    """Interpolate corners [nodes, ...] to the centres of the pixels first to last - 1."""
    pixels = np.arange(first, last)
    before = pixels // _NODES
    share = (pixels + 0.5 - nodes[before]) / (nodes[before + 1] - nodes[before])
    share = share.reshape(-1, *[1] * (corners.ndim - 1))
    return corners[before] * (1.0 - share) + corners[before + 1] * share

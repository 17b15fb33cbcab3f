"""Masks as cloud-optimised GeoTIFF, for programs that do not place two-dimensional coordinates.

`NAME.tif` is the mask on a map: latitude and longitude, or any coordinate system with an EPSG number. Band 1 is
cloud_mask (0 clear, 1 cloud), band 2 the probability of cloud in whole percent; 255 in both is no data: nothing was
measured, or the scene does not reach there. No value is mixed of two pixels.

A pixel is 30" of latitude (0.93 km), and of longitude a whole multiple of 30" that is no longer; in coordinate systems
of metres it is 1 km. A map over the antimeridian has longitudes beyond 180.
"""

from pathlib import Path
from typing import Any

import numpy as np

from cloudmask.data.ancillary import Ancillary
from cloudmask.masks import grid as grids
from cloudmask.masks.classes import MISSING, classes
from cloudmask.sen3 import coordinates, names
from common.data import new_file
from common.errors import UserError

_LATLON = 4326
_STEP_DEGREES = 1 / 120
_AROUND = 360 * 120  # steps
_STEP_METRES = 1000.0
_SAMPLED = 10  # every so many rows and columns are looked at to find a map's extent
_MOST = 40  # pixels of a map for one of the scene


def geotiff_name(path: str) -> str:
    """Name of the GeoTIFF file that holds a scene's mask."""
    return f"{names.stem(path)}.tif"


def crs_of(epsg: int) -> Any:
    """The coordinate system, a rasterio.crs.CRS. Raises UserError if there is none, or rasterio is missing."""
    try:
        from rasterio.crs import CRS
        from rasterio.errors import CRSError
    except ImportError as error:
        raise UserError(
            f"inference.output: geotiff needs the package rasterio ({error}): pip install rasterio==1.4.3",
            on_all_ranks=True,
        ) from error
    try:
        crs = CRS.from_epsg(epsg)
    except CRSError:
        crs = None
    if crs is None or not (crs.is_geographic or crs.is_projected):
        raise UserError(
            f"inference.epsg: {epsg} is no coordinate system of a map: 4326 is latitude and longitude, 3413 and 3031 "
            "are metres around the poles, 32601 to 32660 UTM",
            on_all_ranks=True,
        )
    return crs


def write_geotiff(
    path: Path,
    probability: np.ndarray,
    measured: np.ndarray,
    ancillary: Ancillary,
    threshold: float,
    epsg: int,
    attributes: dict,
) -> None:
    """Write a mask as cloud-optimised GeoTIFF.

    Args:
        path: the file to write.
        probability: [H, W] float32, of cloud.
        measured: [H, W] uint8, 0 where nothing was measured.
        ancillary: the scene's coordinates.
        threshold: the probability above which a pixel is cloud.
        epsg: number of the map's coordinate system.
        attributes: of the file, such as the network that made it and the `product`.

    Raises:
        UserError: if the scene has no coordinates or lies outside of the map, or the file exists already.
    """
    crs = crs_of(epsg)
    if ancillary.latitude is None or ancillary.longitude is None:
        raise UserError(
            f"{path.stem}: has no latitude and longitude, so that its mask cannot be put on a map: leave geotiff out "
            "of inference.output"
        )
    latitude, longitude = coordinates.degrees(ancillary.latitude), coordinates.degrees(ancillary.longitude)
    grid = _grid(latitude, longitude, crs, path.stem)
    index = grids.nearest(grids.directions(latitude, longitude), grid, lambda x, y: _locate(crs, x, y))
    seen = measured.view(bool)
    mask = classes(probability, measured, threshold)
    percent = np.where(seen, np.rint(np.where(seen, probability, 0) * 100).astype(np.uint8), MISSING)
    outside = index < 0
    bands = np.stack([np.where(outside, MISSING, band.ravel()[index]) for band in (mask, percent)])
    new_file.write_bytes(path, _encode(bands, grid, crs, {**attributes, **_acquired(attributes)}))


def _acquired(attributes: dict) -> dict:
    acquired = names.acquired(str(attributes.get("product", "")))
    return acquired.attributes() if acquired else {}


def _grid(latitude: np.ndarray, longitude: np.ndarray, crs: Any, name: str) -> grids.Grid:
    """The map's pixels around a scene. latitude, longitude: [H, W] in degrees, NaN where unknown."""
    rows, columns = (np.unique(np.append(np.arange(0, n, _SAMPLED), n - 1)) for n in latitude.shape)
    some = np.ix_(rows, columns)
    known = np.isfinite(latitude[some]) & np.isfinite(longitude[some])
    places = latitude[some][known], longitude[some][known]
    x, y = _project(crs, *places) if places[0].size else (np.empty(0), np.empty(0))
    if not x.size:
        raise UserError(f"{name}: no pixel has a place on the map of inference.epsg: {crs.to_epsg()}")
    if crs.is_geographic:
        x = grids.unwrapped(x)
        times = int(1 / max(np.cos(np.radians(np.abs(y).min())), 1e-3))
        times = max(n for n in range(1, times + 1) if _AROUND % n == 0)
        grid = grids.around(x, y, times * _STEP_DEGREES, _STEP_DEGREES)
        grid = grid._replace(width=min(grid.width, _AROUND // times))
    else:
        step = _STEP_METRES / crs.linear_units_factor[1]
        grid = grids.around(x, y, step, step)
    if grid.width * grid.height > _MOST * latitude.size + 10**6:
        raise UserError(
            f"{name}: its map with inference.epsg: {crs.to_epsg()} would have {grid.height} x {grid.width} pixels: "
            "choose a coordinate system for its part of the world, such as 4326, or 3413 or 3031 near the poles"
        )
    return grid


def _project(crs: Any, latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y [n] on the map, of those places that are on it."""
    x, y = _transform(_LATLON, crs, longitude, latitude)
    inside = np.isfinite(x) & np.isfinite(y)
    return x[inside], y[inside]


def _locate(crs: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    longitude, latitude = _transform(crs, _LATLON, x.ravel(), y.ravel())
    outside = ~(np.isfinite(latitude) & np.isfinite(longitude))
    places = grids.directions(np.where(outside, 0, latitude), np.where(outside, 0, longitude))
    places[outside] = np.nan
    return places.reshape(*x.shape, 3)


def _transform(source: Any, target: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from rasterio.warp import transform

    transformed = transform(source, target, x, y)
    return np.array(transformed[0]), np.array(transformed[1])


def _encode(bands: np.ndarray, grid: grids.Grid, crs: Any, attributes: dict) -> bytes:
    """The file's bytes. bands: [2, height, width] uint8."""
    from rasterio.io import MemoryFile
    from rasterio.transform import from_origin

    profile = {
        "driver": "COG",
        "dtype": "uint8",
        "count": len(bands),
        "height": grid.height,
        "width": grid.width,
        "crs": crs,
        "transform": from_origin(grid.west, grid.north, grid.step_x, grid.step_y),
        "nodata": int(MISSING),
        "compress": "deflate",
        "overview_resampling": "nearest",
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(bands)
            file.descriptions = ("cloud_mask", "cloud_probability")
            file.scales, file.units = (1.0, 0.01), ("1", "1")
            file.update_tags(title="Cloud mask of a Sentinel-3 SLSTR scene", **attributes)
            file.update_tags(1, flag_values="0, 1", flag_meanings="clear cloud")
            file.update_tags(2, long_name="probability of cloud in whole percent")
        return memory.read()

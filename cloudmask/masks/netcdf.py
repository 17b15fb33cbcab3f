"""Masks as netCDF that other programs read alike: xarray, netCDF4 and GDAL.

`NAME.nc` follows the CF conventions 1.9 (cfconventions.org), the first with unsigned types: cloud_mask (0 clear, 1
cloud, 255 where nothing was measured), cloud_probability packed into 16 bits, latitude and longitude if the scene has
them, and when and by which satellite it was seen if its name tells.

Two choices are for GDAL, which obeys neither `_Unsigned` nor the packing of coordinates (gdalwarp -geoloc;
findings/gdal_packed_geolocation.sh): cloud_mask is unsigned by its type, and coordinates are degrees in 32-bit floating
point, at most 0.9 m off.
"""

import time
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np

from cloudmask.data.ancillary import COORDINATES, Ancillary
from cloudmask.masks.classes import MISSING, classes
from cloudmask.sen3 import coordinates, names
from common.data import new_file

_MISSING_PROBABILITY = np.int16(-32768)
_MISSING_DEGREES = np.float32(-999.0)  # a number, as GDAL does not take NaN for a missing coordinate
_STEPS = 32767  # of cloud_probability between 0 and 1
_COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_DIMENSIONS = ("rows", "columns")
_RANGES = {"latitude": ("degrees_north", 90.0), "longitude": ("degrees_east", 180.0)}
_EPOCH = "seconds since 2000-01-01 00:00:00"
_EPOCH_SECONDS = 946684800.0  # of Unix time


def netcdf_name(path: str) -> str:
    """Name of the netCDF file that holds a scene's mask."""
    return f"{names.stem(path)}.nc"


def write_netcdf(
    path: Path, probability: np.ndarray, measured: np.ndarray, ancillary: Ancillary, threshold: float, attributes: dict
) -> None:
    """Write a mask as CF netCDF.

    Args:
        path: the file to write.
        probability: [H, W] float32, of cloud.
        measured: [H, W] uint8, 0 where nothing was measured.
        ancillary: the scene's coordinates, if it has any.
        threshold: the probability above which a pixel is cloud.
        attributes: of the file, such as the network that made it and the `product`, whose name tells the time.

    Raises:
        UserError: if the file exists already.
    """
    seen = measured.view(bool)
    mask = classes(probability, measured, threshold)
    steps = np.rint(np.where(seen, probability, 0) * np.float32(_STEPS)).astype(np.int16)
    packed = np.where(seen, steps, _MISSING_PROBABILITY)
    located = {name: getattr(ancillary, name) for name in COORDINATES if getattr(ancillary, name) is not None}
    acquired = names.acquired(str(attributes.get("product", "")))
    beside = [*located, *(["time"] if acquired else [])]
    reference = {"coordinates": " ".join(beside)} if beside else {}
    with new_file.write_file(path, h5netcdf.File) as file:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        file.attrs.update({"Conventions": "CF-1.9", "title": "Cloud mask of a Sentinel-3 SLSTR scene"})
        file.attrs.update({"history": f"{now} masked by python -m cloudmask infer", **attributes})
        file.dimensions = dict(zip(_DIMENSIONS, mask.shape))
        _variable(
            file,
            "cloud_mask",
            mask,
            MISSING,
            long_name="cloud mask",
            standard_name="cloud_binary_mask",
            units="1",
            flag_values=np.array([0, 1], np.uint8),
            flag_meanings="clear cloud",
            valid_range=np.array([0, 1], np.uint8),
            ancillary_variables="cloud_probability",
            comment=f"cloud where cloud_probability is above {threshold}",
            **reference,
        )
        _variable(
            file,
            "cloud_probability",
            packed,
            _MISSING_PROBABILITY,
            long_name="probability of cloud",
            units="1",
            scale_factor=1.0 / _STEPS,
            add_offset=0.0,
            valid_range=np.array([0, _STEPS], np.int16),
            **reference,
        )
        for name, values in located.items():
            units, most = _RANGES[name]
            known = values != coordinates.UNKNOWN
            degrees = np.where(known, (values * coordinates.SCALE).astype(np.float32), _MISSING_DEGREES)
            about = {"standard_name": name, "long_name": name, "units": units}
            _variable(file, name, degrees, _MISSING_DEGREES, **about, valid_range=np.array([-most, most], np.float32))
        if acquired:
            file.attrs.update(acquired.attributes())
            _scalar_time(file, acquired)


def unpack_probability(packed: np.ndarray) -> np.ndarray:
    """The probabilities in a file's cloud_probability: float32, NaN where there is none."""
    return np.where(packed == _MISSING_PROBABILITY, np.float32(np.nan), packed.astype(np.float32) / _STEPS)


def _scalar_time(file: h5netcdf.File, acquired: names.Acquired) -> None:
    since = acquired.start.timestamp() - _EPOCH_SECONDS
    variable = file.create_variable("time", (), np.float64, data=np.float64(since))
    variable.attrs.update({"standard_name": "time", "long_name": "start of the acquisition", "axis": "T"})
    variable.attrs.update({"units": _EPOCH, "calendar": "standard"})


def _variable(file: h5netcdf.File, name: str, values: np.ndarray, fill: Any, **attributes: object) -> None:
    chunks = tuple(min(length, 600) for length in values.shape)
    variable = file.create_variable(
        name, _DIMENSIONS, values.dtype, data=values, chunks=chunks, fillvalue=values.dtype.type(fill), **_COMPRESSION
    )
    variable.attrs.update(attributes)

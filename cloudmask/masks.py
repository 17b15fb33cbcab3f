"""Files of masks: the reference program's HDF5, and netCDF for other programs.

Reference: `NAME.hdf.h5` with the dataset `mask` [1, H, W, 1] float32, the probability of cloud, and attributes that say
how it was made. It is NaN where nothing was measured; with data.missing: reference it is the network's value there too.

netCDF: `NAME.nc`, following the CF conventions 1.8 (cfconventions.org): cloud_mask (0 clear, 1 cloud),
cloud_probability packed into 16 bits, and latitude and longitude if the scene has them; missing values where nothing
was measured.
"""

import time
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np

from cloudmask.data.ancillary import COORDINATES, Ancillary
from cloudmask.sen3 import coordinates, names
from common.data import hdf5, new_file

# CF 1.8 has no unsigned types. The attribute `_Unsigned`, which netCDF's own libraries and xarray obey, makes
# cloud_mask unsigned all the same, with 255 as its missing value.
_MISSING = np.int8(-1)
_MISSING_PROBABILITY = np.int16(-32768)
_STEPS = 32767  # of cloud_probability between 0 and 1
_COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_DIMENSIONS = ("rows", "columns")
_UNITS = {"latitude": "degrees_north", "longitude": "degrees_east"}


def reference_name(path: str) -> str:
    """Name of the file that holds a scene's mask in the reference's form."""
    return Path(path).name + ".h5"


def netcdf_name(path: str) -> str:
    """Name of the netCDF file that holds a scene's mask."""
    return f"{names.stem(path)}.nc"


def write_reference(path: Path, mask: np.ndarray, attributes: dict) -> None:
    """Write a mask in the reference's form.

    Args:
        path: the file to write.
        mask: [H, W] float32, the probability of cloud; NaN where there is none.
        attributes: of the dataset, such as the network that made it.

    Raises:
        UserError: if the file exists already.
    """
    with new_file.write_file(path) as target:
        dataset = target.create_dataset("mask", data=mask[np.newaxis, :, :, np.newaxis])
        for name, value in attributes.items():
            dataset.attrs[name] = value


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
        attributes: of the file, such as the network that made it.

    Raises:
        UserError: if the file exists already.
    """
    seen = measured.view(bool)
    mask = np.where(seen, (probability > threshold).view(np.int8), _MISSING)
    steps = np.rint(np.where(seen, probability, 0) * np.float32(_STEPS)).astype(np.int16)
    packed = np.where(seen, steps, _MISSING_PROBABILITY)
    located = {name: getattr(ancillary, name) for name in COORDINATES if getattr(ancillary, name) is not None}
    reference = {"coordinates": " ".join(located)} if located else {}
    with new_file.write_file(path, h5netcdf.File) as file:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        file.attrs.update({"Conventions": "CF-1.8", "title": "Cloud mask of a Sentinel-3 SLSTR scene"})
        file.attrs.update({"history": f"{now} masked by python -m cloudmask infer", **attributes})
        file.dimensions = dict(zip(_DIMENSIONS, mask.shape))
        _variable(
            file,
            "cloud_mask",
            mask,
            _MISSING,
            long_name="cloud mask",
            standard_name="cloud_binary_mask",
            units="1",
            _Unsigned="true",
            flag_values=np.array([0, 1], np.int8),
            flag_meanings="clear cloud",
            valid_range=np.array([0, 1], np.int8),
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
            packing = {**coordinates.ATTRIBUTES, "units": _UNITS[name]}
            _variable(file, name, values, coordinates.UNKNOWN, standard_name=name, long_name=name, **packing)


def stored_probability(path: Path) -> np.ndarray:
    """Read the probability of cloud from a file of either form: [H, W] float32, NaN where there is none."""
    with hdf5.open_file(path) as file:
        if path.suffix == ".nc":
            packed = file.dataset("cloud_probability", "iu").read()
            return np.where(packed == _MISSING_PROBABILITY, np.float32(np.nan), packed.astype(np.float32) / _STEPS)
        return file.dataset("mask", "f").read()[0, :, :, 0]


def _variable(file: h5netcdf.File, name: str, values: np.ndarray, fill: Any, **attributes: object) -> None:
    chunks = tuple(min(length, 600) for length in values.shape)
    variable = file.create_variable(
        name, _DIMENSIONS, values.dtype, data=values, chunks=chunks, fillvalue=values.dtype.type(fill), **_COMPRESSION
    )
    variable.attrs.update(attributes)

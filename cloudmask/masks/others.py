"""Masks that others made, to be scored beside ours: a threshold script's, SNAP's, an operational one.

Each folder of inference.other_masks is one mask. A scene's file in it has the scene's name, with or without its
endings, then .nc or .h5: NAME.nc, NAME.hdf.h5. It is HDF5, netCDF 4 or 3 and holds one array of the scene's size, by
one of _NAMES or as its only one:

numbers of flags   by CF's flag_masks or flag_values with flag_meanings: cloud where one of _MEANINGS is said
whole numbers      cloud above 0
floating point     the probability of cloud, which is cloud above inference.threshold; NaN is no data

_FillValue, and values outside valid_range, are no data. A pixel without data is not counted in that mask's scores.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
from scipy.io import netcdf_file

from cloudmask.sen3 import names
from common.data import hdf5
from common.data.files import DataFile
from common.errors import UserError

_NAMES = ("cloud_mask", "mask", "cloud_probability")  # in this order; the last two are our own forms' too
_COORDINATES = ("latitude", "longitude", "lat", "lon")
_MEANINGS = ("cloud", "cloudy", "summary_cloud", "idepix_cloud", "is_cloud")
_ENDINGS = (".nc", ".h5")


def by_name(folders: Iterable[str], reserved: Collection[str], scenes: Iterable[DataFile]) -> dict[str, str]:
    """The folders by the names of their masks: their own, or, as a run's is called masks, that of the folder above.

    Args:
        folders: inference.other_masks.
        reserved: names that masks of ours have.
        scenes: those that are to be scored.

    Raises:
        UserError: if a folder does not exist or holds no scene's mask, or two have one name.
    """
    found: dict[str, str] = {}
    scenes = list(scenes)
    for folder in folders:
        place = Path(folder).expanduser().absolute()
        name = place.parent.name if place.name == "masks" else place.name
        if not place.is_dir():
            raise UserError(f"inference.other_masks: {folder}: no such folder")
        if name in found or name in reserved:
            raise UserError(f"inference.other_masks: {folder}: another mask is named {name}; rename the folder")
        if not any(find(folder, scene.path) for scene in scenes):
            first = names.stem(scenes[0].path) if scenes else "NAME"
            raise UserError(f"inference.other_masks: {folder}: holds no scene's mask, such as {first}.nc or {first}.h5")
        found[name] = folder
    return found


class OtherMask(NamedTuple):
    """cloud [H, W] bool; known [H, W] bool, None if every pixel has data."""

    cloud: np.ndarray
    known: Optional[np.ndarray]


class _Stored(NamedTuple):
    where: str
    values: np.ndarray
    attributes: dict[str, Any]


def find(folder: str, scene: str) -> Optional[Path]:
    """The file of a scene in a folder of masks."""
    place, name = Path(folder).expanduser(), Path(scene).name
    candidates = [place / f"{stem}{ending}" for stem in (names.stem(scene), name) for ending in _ENDINGS]
    return next((path for path in candidates if path.is_file()), None)


def read(path: Path, shape: tuple[int, ...], threshold: float) -> OtherMask:
    """Read the mask of a scene.

    Args:
        path: its file.
        shape: the scene's height and width.
        threshold: the probability above which a pixel is cloud.

    Raises:
        UserError: if the file cannot be read, or does not say what is cloud.
    """
    return _judged(_of_hdf5(path, shape) if _is_hdf5(path) else _of_netcdf3(path, shape), threshold)


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) != b"CDF"


def _of_hdf5(path: Path, shape: tuple[int, ...]) -> _Stored:
    with hdf5.open_file(path) as file:
        shapes = file.shapes()
        name = _choose(path, shapes, shape)
        dataset = file.dataset(name, "fiub")
        return _Stored(dataset.where, dataset.read().reshape(shape), dataset.attributes())


def _of_netcdf3(path: Path, shape: tuple[int, ...]) -> _Stored:
    """SNAP's export NetCDF-CF is netCDF 3, which the HDF5 library does not read."""
    try:
        with netcdf_file(path, "r", mmap=False) as file:
            shapes = {name: variable.shape for name, variable in file.variables.items()}
            name = _choose(path, shapes, shape)
            variable = file.variables[name]
            values = np.array(variable.data).reshape(shape)
            values = values.astype(values.dtype.newbyteorder("="))
            attributes = {key: _plain(value) for key, value in variable._attributes.items()}
    except UserError:
        raise
    except Exception as error:  # of a damaged file, scipy raises many kinds
        raise UserError(f"{path}: cannot be read as netCDF 3 ({error}): copy it again") from error
    return _Stored(f"{path}: dataset '{name}'", values, attributes)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _choose(path: Path, shapes: dict[str, tuple[int, ...]], shape: tuple[int, ...]) -> str:
    """The array to take: of the scene's size, axes of length 1 aside."""
    fitting = [name for name, each in shapes.items() if tuple(n for n in each if n != 1) == tuple(shape)]
    fitting = [name for name in fitting if name.lower() not in _COORDINATES]
    named = [name for name in _NAMES if name in fitting]
    if named or len(fitting) == 1:
        return (named or fitting)[0]
    height, width = shape
    found = f"{len(fitting)} of that size: {', '.join(fitting[:8])}" if fitting else "none of that size"
    raise UserError(
        f"{path}: holds no mask of the scene's {height} x {width} pixels: one array of any name, or one named "
        f"{', '.join(_NAMES)}, is needed ({found})"
    )


def _judged(stored: _Stored, threshold: float) -> OtherMask:
    values, attributes = stored.values, stored.attributes
    if values.dtype.kind == "i" and str(attributes.get("_Unsigned", "")).lower() == "true":
        values = values.view(f"u{values.itemsize}")
    known = _known(stored.values, values, attributes)
    meanings = str(attributes.get("flag_meanings", "")).lower().split()
    if meanings:
        cloud = _of_flags(stored.where, values, attributes, meanings)
    elif values.dtype.kind == "f" or "scale_factor" in attributes:
        cloud = _probability(stored.where, values, attributes, known) > threshold
    else:
        cloud = values > 0
    return OtherMask(cloud & known, None if known.all() else known)


def _known(raw: np.ndarray, values: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    known = np.ones(values.shape, bool)
    for name in ("_FillValue", "missing_value"):
        if name in attributes:
            known &= raw != attributes[name]
    if values.dtype.kind == "f":
        known &= np.isfinite(values)
    bounds = np.atleast_1d(attributes.get("valid_range", ()))
    if bounds.size == 2:
        if values.dtype != raw.dtype and bounds.dtype == raw.dtype:
            bounds = bounds.view(values.dtype)
        known &= (values >= bounds[0]) & (values <= bounds[1])
    return known


def _probability(where: str, values: np.ndarray, attributes: dict[str, Any], known: np.ndarray) -> np.ndarray:
    scale, offset = float(attributes.get("scale_factor", 1.0)), float(attributes.get("add_offset", 0.0))
    probability = values.astype(np.float32) * np.float32(scale) + np.float32(offset)
    most = float(np.max(probability, where=known, initial=0.0))
    least = float(np.min(probability, where=known, initial=0.0))
    if least < -1e-3 or most > 1 + 1e-3:
        raise UserError(
            f"{where} has values from {least:.4g} to {most:.4g}: floating point is taken for the probability of cloud, "
            "0 to 1; write 0 and 1 as whole numbers for a mask, or divide by 100 for percent"
        )
    return probability


def _of_flags(where: str, values: np.ndarray, attributes: dict[str, Any], meanings: list[str]) -> np.ndarray:
    kind = "flag_masks" if "flag_masks" in attributes else "flag_values"
    numbers = np.atleast_1d(attributes.get(kind, ()))
    cloudy = [place for place, meaning in enumerate(meanings) if meaning in _MEANINGS]
    if values.dtype.kind not in "iu" or len(numbers) != len(meanings) or not cloudy:
        found = f"flag_meanings: {' '.join(meanings)[:200]}; {len(numbers)} {kind}"
        raise UserError(
            f"{where} has flags of which none is named {', '.join(_MEANINGS)} ({found}): write a dataset cloud_mask of "
            "0 and 1 in its place"
        )
    bits = 256**values.itemsize - 1  # SNAP writes the highest bit of unsigned flags as a negative number
    unsigned = values.view(f"u{values.itemsize}")
    chosen = [int(numbers[place]) & bits for place in cloudy]
    if kind == "flag_masks":
        return (unsigned & np.array(sum(set(chosen)), unsigned.dtype)) != 0
    return np.isin(unsigned, np.array(chosen, unsigned.dtype))

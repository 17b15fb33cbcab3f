"""What lies beside a scene's nine channels where its source has it: coordinates, the sun's height, surface and
operational flags, and of made-up scenes where the clouds really are. Nothing here is needed to mask a scene; masks get
coordinates from it, and scores their strata and a second judge.
"""

from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from cloudmask.data.reader import is_product
from cloudmask.sen3.product import Flags, Product, flags_of
from common.data import hdf5

COORDINATES = ("latitude", "longitude")


class Ancillary(NamedTuple):
    """Arrays [H, W], each None where the source lacks it. summary: the operational mask, true where cloud; truth:
    where the clouds are, which only those who made a scene up can know."""

    latitude: Optional[np.ndarray] = None
    longitude: Optional[np.ndarray] = None
    solar_zenith: Optional[np.ndarray] = None  # degrees
    confidence: Optional[Flags] = None
    summary: Optional[np.ndarray] = None
    truth: Optional[np.ndarray] = None
    folder: str = ""  # the scene's own: the data set keeps its scenes in day/ and night/


def read(path: str, shape: tuple[int, ...]) -> Ancillary:
    """What a scene of `shape` pixels has. Arrays of another shape, such as those of a product of 1198 rows whose
    channels were resized, belong to other pixels and are left out. Raises UserError."""
    found = _of_product(path) if is_product(path) else _of_file(path)
    fitting = {
        name: value
        for name, value in found.items()
        if (value.values if isinstance(value, Flags) else value).shape == shape
    }
    confidence, summary = fitting.get("confidence"), fitting.get("summary")
    if summary is None and confidence is not None and "summary_cloud" in confidence.meanings:
        fitting["summary"] = confidence.any_of("summary_cloud")
    return Ancillary(**fitting, folder=Path(path).parent.name)


def _of_product(path: str) -> dict:
    product, found = Product(path), {}
    for name in COORDINATES:
        if product.has("geodetic_in.nc"):
            found[name] = product.variable("geodetic_in.nc", f"{name}_in", np.float32).values
    if product.has("geometry_tn.nc") and product.has("S8_BT_in.nc"):
        found["solar_zenith"] = product.solar_zenith("S8_BT_in.nc", "S8_BT_in").astype(np.float32)
    if product.has("truth_in.nc"):
        found["truth"] = product.numbers("truth_in.nc", "truth_in")[0] > 0
    flags = product.flags("confidence_in")
    return {**found, **({"confidence": flags} if flags is not None else {})}


def _of_file(path: str) -> dict:
    found: dict = {}
    with hdf5.open_file(path) as file:
        for name in (*COORDINATES, "solar_zenith"):
            if file.has(name):
                found[name] = file.dataset(name, "f").read()
        if file.has("confidence"):
            dataset = file.dataset("confidence", "iu")
            found["confidence"] = flags_of(dataset.read(), dataset.attributes(), dataset.where)
        for name in ("summary", "truth"):
            if file.has(name):
                found[name] = file.dataset(name, "fiu").read()[..., 0] > 0
    return found

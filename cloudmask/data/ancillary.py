"""What lies beside a scene's nine channels where its source has it: coordinates, the sun's height, surface and
operational flags, and of made-up scenes where the clouds really are. Nothing here is needed to mask a scene; masks get
coordinates from it, and scores their strata and a second judge.
"""

from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from cloudmask.sen3 import coordinates
from cloudmask.sen3.names import is_product
from cloudmask.sen3.product import Flags, Product, flags_of
from common.data import hdf5

COORDINATES = ("latitude", "longitude")


class Ancillary(NamedTuple):
    """Arrays [H, W], each None where the source lacks it. summary: the operational mask, true where cloud; truth:
    where the clouds are, which only those who made a scene up can know."""

    latitude: Optional[np.ndarray] = None  # int32, microdegrees (cloudmask.sen3.coordinates)
    longitude: Optional[np.ndarray] = None
    solar_zenith: Optional[np.ndarray] = None  # degrees
    confidence: Optional[Flags] = None
    cloud: Optional[Flags] = None  # the operational mask's tests
    summary: Optional[np.ndarray] = None
    truth: Optional[np.ndarray] = None
    folder: str = ""  # the scene's own: the data set keeps its scenes in day/ and night/


def read(path: str, shape: Optional[tuple[int, ...]] = None, product: Optional[Product] = None) -> Ancillary:
    """What a scene of `shape` pixels has; without a shape, all. Arrays of another shape, such as those of a product of
    1198 rows whose channels were resized, belong to other pixels and are left out. product: the one at the path, if it
    is open already. Raises UserError."""
    if product is None and is_product(path):
        product = Product(path)
    found = _of_file(path) if product is None else _of_product(product)
    fitting = {
        name: value
        for name, value in found.items()
        if shape in (None, (value.values if isinstance(value, Flags) else value).shape)
    }
    confidence, summary = fitting.get("confidence"), fitting.get("summary")
    if summary is None and confidence is not None and "summary_cloud" in confidence.meanings:
        fitting["summary"] = confidence.any_of("summary_cloud")
    return Ancillary(**fitting, folder=Path(path).parent.name)


def truth(product: Product, shape: tuple[int, ...]) -> Optional[np.ndarray]:
    """Of a made-up product alone, where its clouds are, [H, W] = `shape`; None of any other."""
    known = _truth(product)
    return known if known is not None and known.shape == shape else None


def _truth(product: Product) -> Optional[np.ndarray]:
    return product.numbers("truth").values > 0 if product.has("truth") else None


def _of_product(product: Product) -> dict:
    found: dict = {name: product.coordinate(name) for name in COORDINATES if product.has(name)}
    if product.has("solar_zenith") and product.has("S8_BT"):
        found["solar_zenith"] = product.solar_zenith("S8_BT").astype(np.float32)
    known = _truth(product)
    if known is not None:
        found["truth"] = known
    for name in ("confidence", "cloud"):
        flags = product.flags(name)
        if flags is not None:
            found[name] = flags
    return found


def _of_file(path: str) -> dict:
    found: dict = {}
    with hdf5.open_file(path) as file:
        for name in COORDINATES:
            if file.has(name):
                values = file.dataset(name, "fi").read()
                found[name] = values if values.dtype == np.int32 else coordinates.microdegrees(values)
        if file.has("solar_zenith"):
            found["solar_zenith"] = file.dataset("solar_zenith", "f").read()
        for name in ("confidence", "cloud"):
            if file.has(name):
                dataset = file.dataset(name, "iu")
                found[name] = flags_of(dataset.read(), dataset.attributes(), dataset.where)
        for name in ("summary", "truth"):
            if file.has(name):
                found[name] = file.dataset(name, "fiu").read()[..., 0] > 0
    return found

"""Sentinel-3 SLSTR level 1 products as scenes on the 1 km grid.

Three conversions:

dataset           what the later of the two public versions of the data set's converter makes of a product, within 1e-6
                  (tests/golden/sen3_seed2018.npz): radiance to reflectance with the first detector's irradiance, no
                  data as 0, an anti-aliased resize onto 1200 x 1500 pixels.
dataset_last_row  what the earlier version makes of it: the same, but for the sun, which it takes from the last row of
                  tie points for every row of a real product (it adds the tie points' start_offset, a row number of
                  tens of thousands, to rows that are counted from 0). `cloudmask inspect` tells which of the two made a
                  scene.
physical          for work with the measurements themselves: each detector's own irradiance, the mean of those of the
                  2 x 2 pixels over each 1 km pixel that were measured, no data as NaN, saturated and invalid pixels
                  likewise, no reflectance without sun, and the radiances of processing baselines before 005 corrected
                  (EUMETSAT product notices S3.PN-SLSTR-L1.08 and .10) or by factors of the user's.

Reflectance is pi L / (E0 cos(zenith)): L radiance, E0 solar irradiance, zenith angle of the sun from a grid of tie
points (16 km across the track, 1 km along it), interpolated by a bicubic spline.
"""

from typing import NamedTuple, Optional, Union

import numpy as np

from cloudmask.sen3 import NIGHT_DEGREES, Calibration, Conversion
from cloudmask.sen3.dataset import Dataset, DatasetLastRow
from cloudmask.sen3.physical import Physical
from cloudmask.sen3.product import Flags, Product
from cloudmask.sen3.table import REFLECTIVE, THERMAL
from common.errors import UserError


class Converted(NamedTuple):
    """A product on the 1 km grid. refs [H, W, 6], bts [H, W, 3] kelvin; the rest [H, W, 1], cloud above 0, each None
    where the product does not have it: bayes; summary, the operational mask; cloud, that of `cloud_tests`. rads [H, W,
    6] where asked for."""

    refs: np.ndarray
    bts: np.ndarray
    bayes: Optional[np.ndarray]
    summary: Optional[np.ndarray]
    cloud: Optional[np.ndarray] = None
    rads: Optional[np.ndarray] = None


def convert(
    path: str,
    like: Conversion,
    shape: tuple[int, ...],
    dtype=np.float64,
    *,
    radiances: bool = False,
    calibration: Calibration = "notice",
    cloud_tests: tuple[str, ...] = (),
) -> Converted:
    """Convert one product. Raises UserError naming the file.

    shape: of the 1 km grid that `dataset` resizes to; `physical` keeps the product's own. dtype: of the arithmetic.
    calibration: of `physical`: notice, none, or factors on the radiances S1 to S6. cloud_tests: names of cloud_in's
    flags of which any says cloud; none given, all.
    """
    product = Product(path)
    variables = [product.variable(f"{band}_BT", dtype) for band in THERMAL]
    size = variables[0].values.shape
    if len(size) != 2 or any(each.values.shape != size for each in variables):
        raise UserError(
            f"{path}: S7 to S9 have the shapes {[each.values.shape for each in variables]}: one of two axes expected"
        )
    masks: dict[str, Optional[Flags]] = {
        "bayes": product.labels(),
        "confidence": product.flags("confidence"),
        "cloud": product.flags("cloud"),
    }
    for name, flags in masks.items():
        if flags is not None and flags.values.shape != size:
            raise UserError(f"{path}: {name}_in has shape {flags.values.shape}, S7 {size}")
    make: Union[Dataset, Physical]
    if like == "physical":
        make = Physical(product, size, variables[0].grid, dtype, calibration)
    else:
        make = (Dataset if like == "dataset" else DatasetLastRow)(product, shape, dtype)
    refs, rads = _reflective(product, make, dtype, radiances)
    bts = np.stack([make.temperature(band, each.values) for band, each in zip(THERMAL, variables)], axis=-1)
    bayes, confidence, cloud = masks.values()
    return Converted(
        refs,
        bts,
        None if bayes is None else make.bayes(bayes)[..., np.newaxis],
        None if confidence is None else make.mask(confidence.any_of("summary_cloud"))[..., np.newaxis],
        None if cloud is None else make.mask(cloudy(cloud, cloud_tests, path))[..., np.newaxis],
        rads,
    )


def cloudy(flags: Flags, tests: tuple[str, ...], where: str) -> np.ndarray:
    """Where any of these tests of cloud_in says cloud, or any at all if none is named. Raises UserError for a name that
    the product does not know."""
    unknown = [test for test in tests if test not in flags.meanings]
    if unknown:
        raise UserError(
            f"{where}: data.cloud_tests: there is no test '{unknown[0]}'; it has {', '.join(flags.meanings)}"
        )
    return flags.any_of(*tests) if tests else flags.values != 0


def _reflective(product: Product, make, dtype, radiances: bool) -> tuple[np.ndarray, Optional[np.ndarray]]:
    """Reflectances and, where asked for, radiances, [H, W, 6] each."""
    present = [band for band in REFLECTIVE if product.has(f"{band}_radiance")]
    tie = product.tie_points()
    refs = np.full((*make.shape, len(REFLECTIVE)), make.missing, dtype)
    rads = np.full_like(refs, make.missing) if radiances else None
    if not present and np.nanmin(tie.values) >= NIGHT_DEGREES:
        return refs, rads  # a product of the night, without the channels that need the sun
    sun, sun_grid = None, None
    for number, band in enumerate(REFLECTIVE):
        measured = product.variable(f"{band}_radiance", dtype)
        if measured.values.ndim != 2:
            raise UserError(f"{measured.where} has shape {measured.values.shape}: two axes expected")
        if sun is None or sun_grid != (measured.grid, measured.values.shape):
            sun = make.sun(make.zenith(tie, measured.values.shape, measured.grid))
            sun_grid = measured.grid, measured.values.shape
        radiance = make.radiance(band, measured.values)
        if rads is not None:
            rads[..., number] = make.onto_1_km(radiance.copy(), measured.grid)
        radiance *= dtype(np.pi)
        radiance /= make.irradiance(band, radiance.shape)
        radiance /= sun
        refs[..., number] = make.onto_1_km(radiance, measured.grid)
    return refs, rads

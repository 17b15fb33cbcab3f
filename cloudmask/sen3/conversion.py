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

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Optional, Union

import numpy as np

from cloudmask.sen3 import NIGHT_DEGREES, Calibration, Conversion, Stripe
from cloudmask.sen3.dataset import Dataset, DatasetLastRow
from cloudmask.sen3.physical import Physical
from cloudmask.sen3.product import Flags, Packed, Product, unpack
from cloudmask.sen3.sun import Grid, Spline, inverse_cosine
from cloudmask.sen3.table import REFLECTIVE, THERMAL
from common.errors import UserError

_THREADS = min(len(os.sched_getaffinity(0)), 4)  # more wait for the library that reads HDF5, one at a time


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
    source: Union[str, Product],
    like: Conversion,
    shape: tuple[int, ...],
    dtype=np.float64,
    *,
    radiances: bool = False,
    stripe: Stripe = "a",
    calibration: Calibration = "notice",
    cloud_tests: tuple[str, ...] = (),
    masks: tuple[str, ...] = ("bayes", "summary", "cloud"),
) -> Converted:
    """Convert one product. Raises UserError naming the file.

    source: a product, or the path of one, of which S4 to S6 are then those of `stripe`. shape: of the 1 km grid that
    `dataset` resizes to; `physical` keeps the product's own. dtype: of the arithmetic. calibration: of `physical`:
    notice, none, or factors on the radiances S1 to S6. cloud_tests: names of cloud_in's flags of which any says cloud;
    none given, all. masks: which of Converted's are wanted.
    """
    product = Product(source, stripe) if isinstance(source, str) else source
    where = product.where
    # Threads unpack files while this one computes the sun; the compiled passes over bands do not hold Python's lock.
    with ThreadPoolExecutor(_THREADS, "product") as pool:
        reading = {band: pool.submit(product.packed, f"{band}_BT") for band in THERMAL}
        flags = {name: pool.submit(_flags, product, name) for name in masks}
        packed = [each.result() for each in reading.values()]
        size = packed[0].values.shape
        if len(size) != 2 or any(each.values.shape != size for each in packed):
            raise UserError(
                f"{where}: S7 to S9 have the shapes {[each.values.shape for each in packed]}: one of two axes expected"
            )
        make: Union[Dataset, Physical]
        if like == "physical":
            make = Physical(product, size, packed[0].grid, dtype, calibration)
        else:
            make = (Dataset if like == "dataset" else DatasetLastRow)(product, shape, dtype)
        kelvin = [pool.submit(_temperature, make, band, each, dtype) for band, each in zip(THERMAL, packed)]
        refs, rads = _reflective(product, make, dtype, pool, radiances)
        bts = np.stack([each.result() for each in kelvin], axis=-1)
        made = {name: each.result() for name, each in flags.items()}
    for name, values in made.items():
        if values is not None and values.values.shape != size:
            raise UserError(f"{where}: {name}_in has shape {values.values.shape}, S7 {size}")
    bayes, summary, cloud = made.get("bayes"), made.get("summary"), made.get("cloud")
    return Converted(
        refs,
        bts,
        None if bayes is None else make.bayes(bayes)[..., np.newaxis],
        None if summary is None else make.mask(summary.any_of("summary_cloud"))[..., np.newaxis],
        None if cloud is None else make.mask(cloudy(cloud, cloud_tests, where))[..., np.newaxis],
        rads,
    )


def _flags(product: Product, mask: str) -> Optional[Flags]:
    return product.labels() if mask == "bayes" else product.flags("confidence" if mask == "summary" else mask)


def _temperature(make: Union[Dataset, Physical], band: str, packed: Packed, dtype) -> np.ndarray:
    return make.temperature(band, unpack(packed, dtype))


def cloudy(flags: Flags, tests: tuple[str, ...], where: str) -> np.ndarray:
    """Where any of these tests of cloud_in says cloud, or any at all if none is named. Raises UserError for a name that
    the product does not know."""
    unknown = [test for test in tests if test not in flags.meanings]
    if unknown:
        raise UserError(
            f"{where}: data.cloud_tests: there is no test '{unknown[0]}'; it has {', '.join(flags.meanings)}"
        )
    return flags.any_of(*tests) if tests else flags.values != 0


def _reflective(
    product: Product, make: Union[Dataset, Physical], dtype, pool: ThreadPoolExecutor, radiances: bool
) -> tuple[np.ndarray, Optional[np.ndarray]]:
    """Reflectances and, where asked for, radiances, [H, W, 6] each."""
    present = [band for band in REFLECTIVE if product.has(f"{band}_radiance")]
    tie = product.tie_points()
    refs = np.empty((*make.shape, len(REFLECTIVE)), dtype)
    rads = np.empty_like(refs) if radiances else None
    if not present and np.nanmin(tie.values) >= NIGHT_DEGREES:
        for array in (refs, rads):  # a product of the night, without the channels that need the sun
            if array is not None:
                array[...] = make.missing
        return refs, rads
    reading = [pool.submit(product.packed, f"{band}_radiance") for band in REFLECTIVE]
    spline = Spline(tie.values)
    suns: dict[tuple, np.ndarray] = {}  # one, unless a product's bands lie otherwise than real ones do

    def inverse_sun(where: str, shape: tuple[int, ...], grid: Grid) -> np.ndarray:
        if len(shape) != 2:
            raise UserError(f"{where} has shape {shape}: two axes expected")
        if (shape, grid) not in suns:
            rows, columns = make.rows(tie, shape, grid), grid.columns_on(tie.grid, shape[1])
            suns[shape, grid] = inverse_cosine(spline, rows, columns, make.sun, dtype, pool)
        return suns[shape, grid]

    inverse_sun(*product.layout(f"{REFLECTIVE[0]}_radiance"))  # while the bands are read
    passes, none = [], np.empty((0, 0), dtype)
    for number, (band, future) in enumerate(zip(REFLECTIVE, reading)):
        packed = future.result()
        sun = inverse_sun(packed.where, packed.values.shape, packed.grid)
        onto = none if rads is None else rads[..., number]
        passes.append(pool.submit(make.band, band, packed, sun, refs[..., number], onto))
    for each in passes:
        each.result()
    return refs, rads

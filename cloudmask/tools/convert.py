"""Sentinel-3 products to files of the benchmark's kind, over ranks.

like dataset    refs, bts, rads, bayes and summary in the types and with the values of the benchmark's own converter
                (dataset_last_row: of its earlier version, see cloudmask.sen3.conversion)
like physical   refs and bts float32 with NaN, bayes, cloud and confidence with all their bits, and what the masks and
                scores of real measurements need besides: latitude and longitude in microdegrees, solar_zenith
"""

import time
from pathlib import Path
from typing import Optional

import numpy as np

from cloudmask.config import DataSettings
from cloudmask.data import ancillary
from cloudmask.data.listing import list_products
from cloudmask.sen3 import coordinates, names
from cloudmask.sen3.conversion import Converted, convert
from cloudmask.sen3.product import Flags, Product
from common import distributed
from common.data import new_file
from common.data.files import DataFile, make_folder
from common.data.order import share
from common.errors import UserError


def main(sources: list[str], target_folder: str, settings: DataSettings) -> int:
    """Convert all products that are not converted yet; collective.

    sources: products, or folders of them at any depth. settings: sen3, stripe, calibration and the scene's size.
    Raises UserError if one could not be converted, the others done.
    """
    if not sources:
        raise UserError("say which products to convert", on_all_ranks=True)
    failed: list[str] = []
    products, target = list_products(sources, refuse=failed.append), Path(target_folder).expanduser()
    distributed.on_root(lambda: make_folder(target))
    first, last = share(len(products), distributed.rank(), distributed.size())
    started, done, kept = time.perf_counter(), 0, 0
    for number, product in enumerate(products[first:last], 1):
        path = target / f"{names.stem(product.path)}.hdf"
        try:
            if path.exists():
                kept += 1
                continue
            _convert(product, path, settings)
            done += 1
            if distributed.is_root():
                print(f"  {number} of {last - first} products of rank 0 done: {path.name}", flush=True)
        except UserError as error:
            failed.append(str(error))
    totals = distributed.gather_objects((done, kept, failed))
    done, kept, failures = sum(t[0] for t in totals), sum(t[1] for t in totals), [each for t in totals for each in t[2]]
    count = done + kept + len(failures)
    if distributed.is_root():
        for failure in failures:
            print(f"failed: {failure}", flush=True)
        print(
            f"{target}: {done} of {count} products converted like {settings.sen3} in "
            f"{time.perf_counter() - started:.1f} s, {kept} were there already, {len(failures)} failed",
            flush=True,
        )
    if failures:
        raise UserError(f"{len(failures)} of {count} products could not be converted, as said above", on_all_ranks=True)
    return 0


def _convert(product: DataFile, path: Path, settings: DataSettings) -> None:
    product.check()
    physical = settings.sen3 == "physical"
    attributes: dict[str, dict] = {}
    opened = Product(product.path, settings.stripe)
    made = convert(
        opened,
        settings.sen3,
        (settings.image_h, settings.image_w),
        np.float32 if physical else np.float64,
        radiances=not physical,
        calibration=settings.calibration,
        masks=("bayes", "summary"),
    )
    if physical:
        arrays, attributes = _with_what_lies_beside(made, ancillary.read(product.path, made.bts.shape[:2], opened))
    else:
        arrays = _as_the_data_set(made)
    truth = ancillary.truth(opened, arrays["bts"].shape[:2])
    if truth is not None:  # of a made-up product
        arrays["truth"] = truth[..., np.newaxis].astype(np.uint8)
    with new_file.write_file(path) as file:
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=array)
            dataset.attrs.update(attributes.get(name, {}))
        file.attrs.update({"source": Path(product.path).name, "like": settings.sen3, "stripe": settings.stripe})
        if physical:
            file.attrs["calibration"] = settings.calibration


def _as_the_data_set(made: Converted) -> dict[str, np.ndarray]:
    """In the types of the published files: 180 MB a scene."""
    assert made.rads is not None
    arrays: dict[str, Optional[np.ndarray]] = {"bayes": made.bayes}
    arrays |= {"bts": made.bts.astype(np.float32), "rads": made.rads.astype(np.float32)}
    arrays |= {"refs": made.refs, "summary": made.summary}
    return {name: array for name, array in arrays.items() if array is not None}


def _with_what_lies_beside(made: Converted, beside: ancillary.Ancillary) -> tuple[dict, dict]:
    """Arrays, and attributes of some."""
    arrays = {"refs": made.refs, "bts": made.bts, "bayes": made.bayes, "summary": made.summary}
    arrays |= {name: getattr(beside, name) for name in (*ancillary.COORDINATES, "solar_zenith")}
    packing = {**coordinates.ATTRIBUTES, "_FillValue": coordinates.UNKNOWN}
    attributes: dict[str, dict] = {name: packing for name in ancillary.COORDINATES}
    for name in ("confidence", "cloud"):
        flags: Optional[Flags] = getattr(beside, name)
        if flags is not None:
            arrays[name], attributes[name] = flags.values, _attributes(flags)
    return {name: array for name, array in arrays.items() if array is not None}, attributes


def _attributes(flags: Flags) -> dict:
    masks = np.array(list(flags.meanings.values()), flags.values.dtype)
    return {"flag_masks": masks, "flag_meanings": " ".join(flags.meanings)}

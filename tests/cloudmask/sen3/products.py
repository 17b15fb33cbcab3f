"""Products for tests: the golden one, by the rule behind tests/golden/sen3_seed2018.npz, and small ones."""

import shutil
import zlib
from pathlib import Path

import h5py
import numpy as np

from cloudmask.sen3.writer import IRRADIANCE, Frame, Zenith, bits, write_product

SEED = 2018
GOLDEN_NAME = "S3A_SL_1_RBT____20180101T101500_20180101T101800_20180102T151515_0179_026_179_2160_LN2_O_NT_002.SEN3"
NAME = "S3B_SL_1_RBT____20200101T101500_20200101T101800_20200102T151515_0179_026_179_2160_LN2_O_NT_005.SEN3"
_FINE, _COARSE = (2400, 3000), (1200, 1500)


def _generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([SEED, zlib.crc32(name.encode())]))


def _cells(small: np.ndarray, cell: int, shape: tuple) -> np.ndarray:
    return small.repeat(cell, 0).repeat(cell, 1)[: shape[0], : shape[1]]


def _packed(name: str, low: int, high: int, shape: tuple, cell: int, factor: int) -> np.ndarray:
    """Blocks of counts with noise on top, and gaps: the swath's edges and a lost scan line."""
    rng = _generator(name)
    counts = _cells(rng.integers(low, high, (-(-shape[0] // cell), -(-shape[1] // cell))), cell, shape)
    counts = (counts + rng.integers(0, 100, shape)).astype(np.int16)
    counts[:, : 24 * factor], counts[:, -10 * factor :] = -32768, -32768
    counts[500 * factor : 502 * factor] = -32768
    return counts


def _flags(name: str, values: list, dtype: str) -> np.ndarray:
    return _cells(_generator(name).choice(np.array(values, dtype), (150, 188)), 8, _COARSE)


def _file(path: Path, resolution: str, track_offset: float, **variables: tuple) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update({"resolution": resolution, "track_offset": track_offset, "start_offset": 0})
        for name, (values, attributes) in variables.items():
            file.create_dataset(name, data=values).attrs.update(attributes)


def golden_product(parent: Path) -> Path:
    """127 MB, as uncompressed arrays; the rule and its random numbers are the golden figures' own."""
    folder = parent / GOLDEN_NAME
    folder.mkdir(parents=True)
    fill = {"_FillValue": np.int16(-32768)}
    for number, irradiance in enumerate(IRRADIANCE, 1):
        name = f"S{number}_radiance_an"
        attributes = {**fill, "scale_factor": 0.005 * irradiance / 100, "add_offset": 0.0}
        values = _packed(name, 100, 20000, _FINE, 16, 2)
        _file(folder / f"{name}.nc", "[ 500 500 ]", 1996.0, **{name: (values, attributes)})
        detectors = (irradiance + 0.01 * np.arange(4), {})
        _file(
            folder / f"S{number}_quality_an.nc", "[ 500 500 ]", 1996.0, **{f"S{number}_solar_irradiance_an": detectors}
        )
    for number in (7, 8, 9):
        name = f"S{number}_BT_in"
        attributes = {**fill, "scale_factor": 0.01, "add_offset": 283.73}
        values = _packed(name, -8000, 3000, _COARSE, 8, 1)
        _file(folder / f"{name}.nc", "[ 1000 1000 ]", 998.0, **{name: (values, attributes)})
    rows, columns = np.arange(1200)[:, np.newaxis], np.arange(130)
    zenith = 20 + 80 * columns / 129 + 5 * np.sin(rows / 200)
    zenith[:, :2] = np.nan
    _file(folder / "geometry_tn.nc", "[ 16000 1000 ]", 64.0, solar_zenith_tn=(zenith, {}))
    bayes = _flags("bayes_in", [0, 0, 1, 2, 3, 4, 8], "u1")
    confidence = _flags("confidence_in", [0, 1024, 16384, 17408, 8192], "u2")
    meanings = (
        "coastline ocean tidal land inland_water unfilled spare spare_ cosmetic duplicate day twilight sun_glint snow "
        "summary_cloud summary_pointing"
    )
    masks = (1 << np.arange(16)).astype(np.uint16)
    _file(
        folder / "flags_in.nc",
        "[ 1000 1000 ]",
        998.0,
        bayes_in=(bayes, {}),
        confidence_in=(confidence, {"flag_masks": masks, "flag_meanings": meanings}),
    )
    return folder


def frame(height: int = 72, width: int = 104, seed: int = 1, zenith: float = 30.0, **changes: object) -> Frame:
    """A small scene in which cold pixels are cloud; land is left of the middle."""
    rng = np.random.default_rng(seed)
    bts = 230 + 80 * rng.random((height, width, 3))
    cold = bts[..., 1] < 265
    land = np.broadcast_to(np.arange(width) < width // 2, (height, width))
    day = np.full((height, width), zenith < 90)
    values = {
        "refs": rng.random((2 * height, 2 * width, 6)),
        "bts": bts,
        "zenith": Zenith(zenith, 0.02, 0.03),
        "bayes": np.where(cold, np.uint8(2), np.uint8(0)),
        "confidence": bits(land=land, ocean=~land, day=day, summary_cloud=cold),
        "latitude": np.broadcast_to(50 - 0.009 * np.arange(height)[:, np.newaxis], (height, width)),
        "longitude": np.broadcast_to(5 + 0.0135 * np.arange(width), (height, width)),
    }
    return Frame(**{**values, **changes})


def product(parent: Path, name: str = NAME, **changes: object) -> Path:
    """A small product of 72 x 104 pixels, packed and compressed as real ones are."""
    parent.mkdir(parents=True, exist_ok=True)
    write_product(parent / name, frame(**changes))
    return parent / name


def add_stripe_b(folder: Path, factor: float = 0.5) -> None:
    """S4 to S6 of stripe b: those of stripe a times `factor`, seen by detectors whose order is the other way round, of
    twice the irradiance."""
    for band in ("S4", "S5", "S6"):
        _renamed(folder, f"{band}_radiance_an", f"{band}_radiance_bn", factor)
        _renamed(folder, f"{band}_quality_an", f"{band}_quality_bn", 2.0, f"{band}_solar_irradiance_an")
    _renamed(folder, "indices_an", "indices_bn", 1.0, "detector_an")
    with h5py.File(folder / "indices_bn.nc", "r+") as file:
        file["detector_bn"][...] = 3 - file["detector_bn"][()]


def _renamed(folder: Path, old: str, new: str, factor: float, variable: str = "") -> None:
    shutil.copy(folder / f"{old}.nc", folder / f"{new}.nc")
    with h5py.File(folder / f"{new}.nc", "r+") as file:
        name = variable or old
        values, attributes = file[name][()], dict(file[name].attrs)
        kept = {key: value for key, value in attributes.items() if key not in ("DIMENSION_LIST", "_Netcdf4Coordinates")}
        if values.dtype == np.int16:
            kept["scale_factor"] = kept["scale_factor"] * factor
        elif values.dtype.kind == "f":
            values = values * factor
        del file[name]
        file.create_dataset(name.replace("_an", "_bn"), data=values).attrs.update(kept)


def change(path: Path, variable: str, values: np.ndarray, **attributes: object) -> None:
    """Replace a variable of a product's file, its attributes kept but for those given."""
    with h5py.File(path, "r+") as file:
        old = dict(file[variable].attrs)
        kept = {key: value for key, value in old.items() if key not in ("DIMENSION_LIST", "_Netcdf4Coordinates")}
        del file[variable]
        file.create_dataset(variable, data=values).attrs.update({**kept, **attributes})

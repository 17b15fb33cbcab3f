"""Writes made-up Sentinel-3 SLSTR products in the real layout, for trying everything without an archive.

The variables, their packing, dimensions and attributes are those of real level 1 products (processing baseline 005);
which other files a real product has besides is left out.
"""

from pathlib import Path
from typing import NamedTuple, Optional

import h5netcdf
import numpy as np

from cloudmask.sen3 import NIGHT_DEGREES, names
from common.data import new_file
from common.errors import UserError, storage_problem

# Solar irradiance of S1 ... S6 in mW m-2 nm-1, of the first of four detectors.
IRRADIANCE = (1837.39, 1525.94, 956.17, 365.90, 248.33, 78.33)
DETECTORS = 4
BRIGHTEST = 2.0  # reflectance that is packed without being cut; int16 has 32767 steps up to it
_SURFACE = [
    "coastline",
    "ocean",
    "tidal",
    "land",
    "inland_water",
    "unfilled",
    "spare",
    "spare_",
    "cosmetic",
    "duplicate",
]
CONFIDENCE = [*_SURFACE, "day", "twilight", "sun_glint", "snow", "summary_cloud", "summary_pointing"]  # bit 0 first
CONFIDENCE_ATTRIBUTES = {
    "flag_masks": (1 << np.arange(16)).astype(np.uint16),
    "flag_meanings": " ".join(CONFIDENCE),
}
_BAYES = ["single_low", "single_moderate", "dual_low", "dual_moderate"]
_FILL = -32768
# Number along the orbit of the first row of the 1 km grid and the tie points, as a product of 2023 has it.
START_ROW = 54882
_TIE_COLUMNS_METRES = 16000.0


class Frame(NamedTuple):
    """What a product is made of. refs [2 H, 2 W, 6] reflectance, bts [H, W, 3] kelvin, NaN where nothing was measured;
    zenith of the sun in degrees as a function of row and column of the 1 km grid; bayes [H, W] uint8; confidence [H, W]
    uint16; latitude, longitude [H, W] degrees; truth [H, W] uint8, of made-up products, goes to a file of its own.
    shift: rows of the 0.5 km grid by which its first row lies behind that of the 1 km grid, -1, 0 or 1 in real ones."""

    refs: Optional[np.ndarray]  # None: a product of the night, without the channels that need the sun
    bts: np.ndarray
    zenith: "Zenith"
    bayes: np.ndarray
    confidence: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    truth: Optional[np.ndarray] = None
    shift: int = 0


class Zenith(NamedTuple):
    """A plane: degrees in the scene's corner, and by pixel of the 1 km grid along and across the track."""

    corner: float
    along: float
    across: float

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return self.corner + self.along * rows[:, np.newaxis] + self.across * columns


def sun_cosine(zenith: np.ndarray) -> np.ndarray:
    """What radiance is divided by on its way to reflectance, of angles in degrees; 1 in the night."""
    return np.where(zenith < NIGHT_DEGREES, np.cos(np.deg2rad(zenith)), 1.0)


def bits(**where: np.ndarray) -> np.ndarray:
    """confidence_in from the places of each of its meanings."""
    result = np.zeros(next(iter(where.values())).shape, np.uint16)
    for meaning, place in where.items():
        result |= np.where(place, np.uint16(1 << CONFIDENCE.index(meaning)), np.uint16(0))
    return result


def write_product(folder: Path, frame: Frame) -> None:
    """Write the product as the folder, which must have a product's name. Raises UserError if it is there already."""
    if not any(folder.match(pattern) for pattern in names.SEN3.patterns):
        raise UserError(f"{folder}: is not named like a product ({' or '.join(names.SEN3.patterns)})")
    try:
        temporary = folder.with_name(f".{folder.name}.tmp")
        temporary.mkdir(parents=True, exist_ok=True)
        for old in temporary.iterdir():
            old.unlink()
        _Writer(temporary, frame).write()
        temporary.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({storage_problem(error, folder.parent)})") from error


class _Writer:
    def __init__(self, folder: Path, frame: Frame):
        self.folder, self.frame = folder, frame
        self.height, self.width = frame.bts.shape[:2]

    def write(self) -> None:
        frame, coarse = self.frame, ("[ 1000 1000 ]", self._track(1), START_ROW)
        fine = "[ 500 500 ]", self._track(2), 2 * START_ROW + frame.shift
        if frame.refs is not None:
            self._reflective(frame.refs, fine)
            detector = np.broadcast_to(np.arange(2 * self.height)[:, np.newaxis] % DETECTORS, frame.refs.shape[:2])
            self._file("indices_an.nc", fine, detector_an=(detector.astype(np.uint8), {"_FillValue": np.uint8(255)}))
        for number, band in enumerate(("S7", "S8", "S9")):
            kelvin = frame.bts[..., number]
            packed = np.where(np.isnan(kelvin), _FILL, np.rint((np.nan_to_num(kelvin, nan=300) - 283.73) / 0.01))
            attributes = {"scale_factor": 0.01, "add_offset": 283.73, "_FillValue": np.int16(_FILL), "units": "K"}
            self._file(f"{band}_BT_in.nc", coarse, **{f"{band}_BT_in": (packed.astype(np.int16), attributes)})
        self._flags(coarse)
        if frame.truth is not None:
            self._file("truth_in.nc", coarse, truth_in=(frame.truth, {}))
        rows, columns = np.arange(self.height), self._tie_columns()
        zenith = frame.zenith.at(rows, columns)
        tie = "[ 16000 1000 ]", self._tie_track(), START_ROW
        self._file("geometry_tn.nc", tie, solar_zenith_tn=(zenith, {"_FillValue": np.nan, "units": "degrees"}))
        degrees = {
            f"{name}_in": (
                np.rint(values * 1e6).astype(np.int32),
                {"scale_factor": 1e-6, "_FillValue": np.int32(-(2**31)), "units": units, "standard_name": name},
            )
            for name, values, units in (
                ("latitude", frame.latitude, "degrees_north"),
                ("longitude", frame.longitude, "degrees_east"),
            )
        }
        self._file("geodetic_in.nc", coarse, **degrees)

    def _reflective(self, refs: np.ndarray, grid: tuple) -> None:
        rows = (np.arange(2 * self.height) + self.frame.shift) / 2
        zenith = self.frame.zenith.at(rows, np.arange(2 * self.width) / 2)
        sun = sun_cosine(zenith)
        detectors = 1 + 1e-5 * np.arange(DETECTORS)
        by_row = detectors[np.arange(2 * self.height) % DETECTORS][:, np.newaxis]
        for number, irradiance in enumerate(IRRADIANCE):
            radiance = refs[..., number] * sun * irradiance * by_row / np.pi
            scale = BRIGHTEST * irradiance / np.pi / 32767
            steps = np.rint(np.clip(np.nan_to_num(radiance, nan=0) / scale, -32767, 32767))
            packed = np.where(np.isnan(radiance), _FILL, steps).astype(np.int16)
            band = f"S{number + 1}"
            attributes = {"scale_factor": scale, "add_offset": 0.0, "_FillValue": np.int16(_FILL)}
            attributes["units"] = "mW.m-2.sr-1.nm-1"
            self._file(f"{band}_radiance_an.nc", grid, **{f"{band}_radiance_an": (packed, attributes)})
            values = {f"{band}_solar_irradiance_an": (irradiance * detectors, {"units": "mW.m-2.nm-1"})}
            self._file(f"{band}_quality_an.nc", grid, dimensions=("detectors",), **values)

    def _flags(self, grid: tuple) -> None:
        bayes = {
            "flag_masks": np.array([1, 2, 4, 8], np.uint8),
            "flag_meanings": " ".join(_BAYES),
            # As in processing baseline 005, where it makes clear sky a missing value for those who believe it.
            "_FillValue": np.uint8(0),
        }
        self._file(
            "flags_in.nc",
            grid,
            bayes_in=(self.frame.bayes, bayes),
            confidence_in=(self.frame.confidence, CONFIDENCE_ATTRIBUTES),
        )

    def _track(self, pixels_a_kilometre: int) -> float:
        return float((self.width * 998 // 1500) * pixels_a_kilometre)

    def _tie_track(self) -> float:
        return float(int(self._track(1) * 1000 / _TIE_COLUMNS_METRES) + 2)

    def _tie_columns(self) -> np.ndarray:
        """Columns of the 1 km grid under the tie points, of which there are two more than needed on each side."""
        count = max(int(self._tie_track() + (self.width - self._track(1)) * 1000 / _TIE_COLUMNS_METRES) + 3, 4)
        return (np.arange(count) - self._tie_track()) * _TIE_COLUMNS_METRES / 1000 + self._track(1)

    def _file(self, name: str, grid: tuple, dimensions: tuple = ("rows", "columns"), **variables: tuple) -> None:
        """variables: (values, attributes) by name; the file's attributes as netCDF's own library writes them."""
        resolution, track_offset, start_offset = grid
        with new_file.write_file(self.folder / name, h5netcdf.File) as file:
            file.attrs["resolution"] = resolution
            file.attrs["track_offset"] = np.array([track_offset], np.int32)
            file.attrs["start_offset"] = np.array([start_offset], np.int32)
            file.attrs["product_name"] = self.folder.name.strip(".").removesuffix(".tmp")
            shape = next(iter(variables.values()))[0].shape
            file.dimensions = dict(zip(dimensions, shape))
            for variable, (values, attributes) in variables.items():
                made = file.create_variable(
                    variable,
                    dimensions,
                    values.dtype,
                    data=values,
                    fillvalue=attributes.get("_FillValue"),
                    chunks=tuple(min(length, 600) for length in shape),
                    compression="gzip",
                    compression_opts=1,
                    shuffle=True,
                )
                made.attrs.update({key: value for key, value in attributes.items() if key != "_FillValue"})

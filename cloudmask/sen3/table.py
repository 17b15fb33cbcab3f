"""What is read of a Sentinel-3 SLSTR level 1 product, and where it lies in both forms that such products have.

SEN3   a folder of netCDF 4 files (Sentinel-3 SLSTR Product Data Format Specification - Level 1)
EOPF   a folder of Zarr arrays, type S03SLSRBT (eopf 3.0.0's mapping); it has neither the Bayesian mask nor viscal.nc

Grids are nadir's: an 0.5 km, stripe a; in 1 km; tn the tie points, every 16 km across the track and 1 km along it.
"""

from typing import NamedTuple

REFLECTIVE = tuple(f"S{band}" for band in range(1, 7))
THERMAL = ("S7", "S8", "S9")


class Entry(NamedTuple):
    """variable of `file` in a SEN3 product; path of the array in an EOPF one, empty where it has none."""

    file: str
    variable: str
    array: str
    grid: str


class GridEntry(NamedTuple):
    """title: in the list "proj:shape" of an EOPF product's attributes, which gives metres for both directions at once;
    along: metres along the track, which it does not tell of tie points."""

    title: str
    along: int


GRIDS = {
    "an": GridEntry("nadir 0.5 km stripe A", 500),
    "in": GridEntry("nadir 1 km", 1000),
    "tn": GridEntry("nadir tie points grid", 1000),
}


def _band(band: str) -> dict[str, Entry]:
    low = band.lower()
    if band in THERMAL:
        file = f"{band}_BT_in.nc"
        return {
            f"{band}_BT": Entry(file, f"{band}_BT_in", f"measurements/inadir/{low}_bt_in", "in"),
            f"{band}_exception": Entry(file, f"{band}_exception_in", f"quality/inadir/{low}_exception_in", "in"),
        }
    file, detectors = f"{band}_radiance_an.nc", f"{band}_solar_irradiance_an"
    return {
        f"{band}_radiance": Entry(file, f"{band}_radiance_an", f"measurements/anadir/{low}_radiance_an", "an"),
        f"{band}_exception": Entry(file, f"{band}_exception_an", f"quality/anadir/{low}_exception_an", "an"),
        f"{band}_irradiance": Entry(
            f"{band}_quality_an.nc", detectors, f"conditions/instrument/anadir/{low}/{detectors.lower()}", "an"
        ),
        # [detector, view], nadir first; the short-wave infrared's are those of stripe a, then of stripe b.
        f"{band}_viscal": Entry("viscal.nc", f"{band}_solar_irradiances", "", "an"),
    }


TABLE = {
    **{name: entry for band in (*REFLECTIVE, *THERMAL) for name, entry in _band(band).items()},
    "detector": Entry("indices_an.nc", "detector_an", "conditions/processing/anadir/detector", "an"),
    "solar_zenith": Entry("geometry_tn.nc", "solar_zenith_tn", "conditions/geometry_tn/solar_zenith_tn", "tn"),
    "latitude": Entry("geodetic_in.nc", "latitude_in", "measurements/inadir/latitude", "in"),
    "longitude": Entry("geodetic_in.nc", "longitude_in", "measurements/inadir/longitude", "in"),
    "bayes": Entry("flags_in.nc", "bayes_in", "", "in"),
    "confidence": Entry("flags_in.nc", "confidence_in", "quality/inadir/confidence_in", "in"),
    "cloud": Entry("flags_in.nc", "cloud_in", "quality/inadir/cloud_in", "in"),
    "truth": Entry("truth_in.nc", "truth_in", "", "in"),  # of made-up products
}

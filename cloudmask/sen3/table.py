"""What is read of a Sentinel-3 SLSTR level 1 product, and where it lies in both forms that such products have.

SEN3   a folder of netCDF 4 files (Sentinel-3 SLSTR Product Data Format Specification - Level 1)
EOPF   a folder of Zarr arrays, type S03SLSRBT (eopf 3.0.0's mapping); it has neither the Bayesian mask nor viscal.nc

Grids are nadir's: an and bn 0.5 km, stripes a and b; in 1 km; tn the tie points, every 16 km across the track and 1 km
along it. S1 to S3 are measured in stripe a alone, S4 to S6 in both.
"""

from typing import NamedTuple

REFLECTIVE = tuple(f"S{band}" for band in range(1, 7))
STRIPED = ("S4", "S5", "S6")
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
    "bn": GridEntry("nadir 0.5 km stripe B", 500),
    "in": GridEntry("nadir 1 km", 1000),
    "tn": GridEntry("nadir tie points grid", 1000),
}


def _thermal(band: str) -> dict[str, Entry]:
    low, file = band.lower(), f"{band}_BT_in.nc"
    return {
        f"{band}_BT": Entry(file, f"{band}_BT_in", f"measurements/inadir/{low}_bt_in", "in"),
        f"{band}_exception": Entry(file, f"{band}_exception_in", f"quality/inadir/{low}_exception_in", "in"),
    }


def _reflective(band: str, stripe: str) -> dict[str, Entry]:
    low, grid, folder = band.lower(), f"{stripe}n", f"{stripe}nadir"
    file, radiance, exception = f"{band}_radiance_{grid}.nc", f"{band}_radiance_{grid}", f"{band}_exception_{grid}"
    irradiance = f"{band}_solar_irradiance_{grid}"
    return {
        f"{band}_radiance": Entry(file, radiance, f"measurements/{folder}/{radiance.lower()}", grid),
        f"{band}_exception": Entry(file, exception, f"quality/{folder}/{exception.lower()}", grid),
        f"{band}_irradiance": Entry(
            f"{band}_quality_{grid}.nc", irradiance, f"conditions/instrument/{folder}/{low}/{irradiance.lower()}", grid
        ),
        # [detector, view], nadir first; of S4 to S6 the detectors of stripe a, then those of stripe b.
        f"{band}_viscal": Entry("viscal.nc", f"{band}_solar_irradiances", "", grid),
        f"{band}_detector": Entry(
            f"indices_{grid}.nc", f"detector_{grid}", f"conditions/processing/{folder}/detector", grid
        ),
    }


TABLE = {
    **{name: entry for band in REFLECTIVE for name, entry in _reflective(band, "a").items()},
    **{name: entry for band in THERMAL for name, entry in _thermal(band).items()},
    "solar_zenith": Entry("geometry_tn.nc", "solar_zenith_tn", "conditions/geometry_tn/solar_zenith_tn", "tn"),
    "latitude": Entry("geodetic_in.nc", "latitude_in", "measurements/inadir/latitude", "in"),
    "longitude": Entry("geodetic_in.nc", "longitude_in", "measurements/inadir/longitude", "in"),
    "bayes": Entry("flags_in.nc", "bayes_in", "", "in"),
    "confidence": Entry("flags_in.nc", "confidence_in", "quality/inadir/confidence_in", "in"),
    "cloud": Entry("flags_in.nc", "cloud_in", "quality/inadir/cloud_in", "in"),
    "truth": Entry("truth_in.nc", "truth_in", "", "in"),  # of made-up products
}
# The same with S4 to S6 of stripe b.
TABLE_B = {**TABLE, **{name: entry for band in STRIPED for name, entry in _reflective(band, "b").items()}}

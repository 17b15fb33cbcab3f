#!/bin/bash
# xarray reads the gaps of an EOPF product of Sentinel-3 SLSTR as measurements.
#
# Versions: eopf 3.0.0 (its mapping alone), xarray 2026.9.0, zarr 3.4.2, numpy 2.4.6, Python 3.13.
# Expected: xarray.open_zarr masks what the product declares as no data, as it does with the SEN3 product's netCDF files;
#           gaps are NaN.
# True:     eopf's mapping writes the number as the attribute `fill_value`; xarray masks by `_FillValue`. It scales and
#           does not mask: a gap of S1 is -3010 mW m-2 sr-1 nm-1.
# Matters:  means, thresholds and normalised images of swath edges are wrong without a word. Readers must mask by the
#           attribute `fill_value` themselves; cloudmask/sen3/eopf.py does.
#
# Exits 0 while this is so, 1 if it has changed, 2 if it could not be tried.
set -u
python=${PYTHON:-python3.13}
command -v "$python" > /dev/null || { echo "needs Python 3.13: set PYTHON"; exit 2; }
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv" || exit 2
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" xarray==2026.9.0 zarr==3.4.2 numpy==2.4.6 && "${pip[@]}" --no-deps eopf==3.0.0 || exit 2
"$folder/venv/bin/python" - "$folder" << 'PYTHON'
import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import xarray
import zarr

print(f"xarray {xarray.__version__}, zarr {zarr.__version__}, numpy {np.__version__}, eopf {metadata.version('eopf')}")
folder = Path(sys.argv[1])
file = next(each for each in metadata.files("eopf") if each.match("store/mapping/S03SLSRBT_*.json"))


def entries(tree):
    """Every description of a variable in the mapping."""
    if isinstance(tree, dict):
        if "target_path" in tree:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for each in tree:
            yield from entries(each)


mapping = json.loads(Path(file.locate()).read_text())
radiance = next(each for each in entries(mapping) if each["target_path"] == "/measurements/anadir/s1_radiance_an")
attributes = radiance["transform"]["attributes"]
print("eopf's mapping:", attributes)
attributes |= {"scale_factor": 0.0918695, "add_offset": 0.0}  # as "from_legacy_attr" takes them from the SEN3 file
counts = np.array([[1000, attributes["fill_value"]]], np.int16)
gaps = {}
for form in (2, 3):
    group = zarr.open_group(folder / f"{form}.zarr", mode="w", zarr_format=form)
    names = {"dimension_names": ("rows", "columns")} if form == 3 else {}
    array = group.create_array("s1_radiance_an", data=counts, **names)
    # Zarr 2 keeps the names of dimensions as an attribute.
    array.attrs.update({**attributes, **({} if names else {"_ARRAY_DIMENSIONS": ["rows", "columns"]})})
    opened = xarray.open_zarr(folder / f"{form}.zarr", consolidated=False)
    gaps[form] = float(opened["s1_radiance_an"][0, 1])
    print(f"Zarr {form}: the gap reads as {gaps[form]}")
as_expected = any(np.isnan(gap) for gap in gaps.values())
print("changed: gaps are masked" if as_expected else "gaps are read as measurements")
sys.exit(1 if as_expected else 0)
PYTHON

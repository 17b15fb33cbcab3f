#!/bin/bash
# GDAL warps by packed latitudes and longitudes as if they were degrees.
#
# Versions: gdal-wheel 3.13.3 (GDAL 3.13.3), netCDF4 1.7.2, numpy 2.2.6, Python 3.13. Debian's GDAL 3.6.2 does the same.
# Expected: a netCDF file whose latitude and longitude are packed by scale_factor, as CF allows and as Sentinel-3 SLSTR
#           products have them (whole microdegrees in 32 bits), is warped to the same place as one with plain degrees.
# True:     the driver finds both arrays by the attribute `coordinates` and reports them as geolocation arrays in EPSG:4326,
#           but the warp takes the stored integers: a scene at 4.8 degrees east lies at 4,814,140. No error, and no warning
#           that plain degrees do not get as well.
# Matters:  `gdalwarp -geoloc` puts such files nowhere. A file for GDAL must hold plain degrees; cloudmask/masks/netcdf.py
#           writes them.
#
# Exits 0 while this is so, 1 if it has changed, 2 if it could not be tried.
set -u
python=${PYTHON:-python3.13}
command -v "$python" > /dev/null || { echo "needs Python 3.13: set PYTHON"; exit 2; }
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv" || exit 2
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" gdal-wheel==3.13.3 netCDF4==1.7.2 numpy==2.2.6 || exit 2
"$folder/venv/bin/python" - "$folder" << 'PYTHON'
import sys

import netCDF4
import numpy as np
from osgeo import gdal

gdal.UseExceptions()
print(f"GDAL {gdal.__version__}, netCDF4 {netCDF4.__version__}, numpy {np.__version__}")
rows, columns = np.mgrid[:60, :80]
places = {"latitude": 50 - 0.01 * rows - 0.002 * columns, "longitude": 5 + 0.014 * columns - 0.003 * rows}


def write(path, packed):
    with netCDF4.Dataset(path, "w") as file:
        file.Conventions = "CF-1.9"
        file.createDimension("rows", rows.shape[0])
        file.createDimension("columns", rows.shape[1])
        mask = file.createVariable("mask", "u1", ("rows", "columns"), fill_value=255)
        mask.coordinates = "latitude longitude"
        mask[:] = np.ones(rows.shape, np.uint8)
        for name, degrees in places.items():
            variable = file.createVariable(name, "i4" if packed else "f8", ("rows", "columns"))
            variable.standard_name, variable.units = name, f"degrees_{'north' if name == 'latitude' else 'east'}"
            if packed:
                variable.scale_factor = 1e-6
            variable[:] = degrees
    with netCDF4.Dataset(path) as file:
        assert all(abs(file[name][:] - degrees).max() < 1e-6 for name, degrees in places.items())


corners = {}
for kind, packed in {"degrees": False, "packed": True}.items():
    path = f"{sys.argv[1]}/{kind}.nc"
    write(path, packed)
    warped = gdal.Warp("", f'NETCDF:"{path}":mask', format="MEM", geoloc=True, dstSRS="EPSG:4326")
    west, _, _, north, _, _ = warped.GetGeoTransform()
    corners[kind] = west, north
    print(f"{kind}: the corner in the north-west is at {west:.3f} east, {north:.3f} north")
same = np.allclose(corners["packed"], corners["degrees"], atol=0.1)
print("changed: packed coordinates are obeyed" if same else "packed coordinates are taken for degrees")
sys.exit(1 if same else 0)
PYTHON

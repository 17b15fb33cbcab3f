"""Files of masks: the reference program's HDF5, netCDF for other programs, GeoTIFF for maps; and masks of others."""

from cloudmask.masks import others
from cloudmask.masks.files import reference_name, stored_probability, write_reference
from cloudmask.masks.geotiff import crs_of, geotiff_name, write_geotiff
from cloudmask.masks.netcdf import netcdf_name, write_netcdf

__all__ = [
    "crs_of",
    "geotiff_name",
    "netcdf_name",
    "others",
    "reference_name",
    "stored_probability",
    "write_geotiff",
    "write_netcdf",
    "write_reference",
]

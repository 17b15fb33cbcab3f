"""Files of masks: the reference program's HDF5, and netCDF for other programs."""

from cloudmask.masks.files import reference_name, stored_probability, write_reference
from cloudmask.masks.netcdf import netcdf_name, write_netcdf

__all__ = ["netcdf_name", "reference_name", "stored_probability", "write_netcdf", "write_reference"]

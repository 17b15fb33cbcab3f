"""The reference program's form of a mask, and the probabilities of either form read back.

`NAME.hdf.h5` has the dataset `mask` [1, H, W, 1] float32, the probability of cloud, and attributes that say how it was
made. It is NaN where nothing was measured; with data.missing: reference it is the network's value there too.
"""

from pathlib import Path

import numpy as np

from cloudmask.masks.netcdf import unpack_probability
from common.data import hdf5, new_file


def reference_name(path: str) -> str:
    """Name of the file that holds a scene's mask in the reference's form."""
    return Path(path).name + ".h5"


def write_reference(path: Path, mask: np.ndarray, attributes: dict) -> None:
    """Write a mask in the reference's form.

    Args:
        path: the file to write.
        mask: [H, W] float32, the probability of cloud; NaN where there is none.
        attributes: of the dataset, such as the network that made it.

    Raises:
        UserError: if the file exists already.
    """
    with new_file.write_file(path) as target:
        dataset = target.create_dataset("mask", data=mask[np.newaxis, :, :, np.newaxis])
        for name, value in attributes.items():
            dataset.attrs[name] = value


def stored_probability(path: Path) -> np.ndarray:
    """Read the probability of cloud from a file of either form: [H, W] float32, NaN where there is none."""
    with hdf5.open_file(path) as file:
        if path.suffix == ".nc":
            return unpack_probability(file.dataset("cloud_probability", "iu").read())
        return file.dataset("mask", "f").read()[0, :, :, 0]

"""The names that layers have in saved files.

A .keras file calls arrays by the class of their layer and its number among those of the class. Two of our classes bear
the name of Keras' own, of which these layers were when the first files were saved.
"""

import zipfile
from pathlib import Path

import h5py
import pytest
import tensorflow as tf

from common.keras import files as keras_files
from tests.helpers import GOLDEN
from tests.versions import OWN_KERAS_FILES
from tf_deepcam.network import deeplab


def arrays(path: Path, folder: Path) -> dict:
    """{name: shape} of a .keras file's arrays."""
    with zipfile.ZipFile(path) as archive:
        weights = archive.extract("model.weights.h5", folder)
    shapes = {}
    with h5py.File(weights) as file:
        file.visititems(lambda name, item: shapes.update({name: item.shape} if isinstance(item, h5py.Dataset) else {}))
    return shapes


@pytest.mark.parametrize(("name", "group_size"), [("deepcam_flat_layout", 1), ("deepcam_groups_flat_layout", 2)])
def test_arrays_have_the_names_that_they_had_in_the_first_files(tmp_path, name, group_size):
    network = deeplab.deeplab(width=0.05, batchnorm_group_size=group_size)
    keras_files.save(network, tmp_path / "model.keras")
    ours = arrays(tmp_path / "model.keras", tmp_path)
    assert ours == arrays(GOLDEN / f"{name}.keras", tmp_path)
    assert any("/depthwise_conv2d_1/" in each for each in ours)
    norms = "group_batch_normalization" if group_size > 1 else "batch_normalization"
    assert any(f"/{norms}_1/" in each for each in ours)


@OWN_KERAS_FILES
@pytest.mark.parametrize("name", ["tf_deepcam>_Tile", "tf_deepcam>DepthwiseConv2D", "tf_deepcam>BatchNormalization"])
def test_the_names_that_files_call_classes_by_are_registered(name):
    assert tf.keras.utils.get_registered_object(name) is not None

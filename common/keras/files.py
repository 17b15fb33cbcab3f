"""Weights into Keras' files, and out of them, by name and shape, into a network of ours.

What a file describes is never built: a .keras or .h5 file may name any function of any module as a layer, and Keras'
safe mode does not stop all of them. Only arrays are taken.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from common.errors import UserError

# What Keras, h5py, zipfile and json raise for files that are not what they should be.
_UNREADABLE = (
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    tf.errors.OpError,
)
_DESCRIPTION_BYTES = 16 << 20  # a .keras file's config.json is well below


def save(network: tf.keras.Model, path: Path) -> None:
    """Write a .keras file. To TensorFlow 2.12 that name alone is one of an HDF5 file."""
    network.save(path, save_format="keras_v3")
    if tf.keras.Model.__module__.startswith("tf_keras."):
        _name_modules_as_keras_does(path)


def _name_modules_as_keras_does(path: Path) -> None:
    """tf_keras reads Keras' own names of modules, but writes tf_keras.*, which TensorFlow up to 2.15 cannot import."""
    part = path.with_name(f"{path.name}.part")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(part, "w") as renamed:
        for entry in archive.infolist():
            data = archive.read(entry)
            if entry.filename == "config.json":
                data = data.replace(b'"module": "tf_keras.', b'"module": "keras.')
            renamed.writestr(entry, data)
    part.replace(path)


def load_weights(network: tf.keras.Model, path: Path) -> None:
    """Set all weights from a .keras file, an .h5 file (of a model or of weights) or a SavedModel folder.

    Raises UserError if it is missing, unreadable, or of another network.
    """
    try:
        if path.is_dir():
            # Layers by their order and variables by name, as SavedModel's object graph has them.
            status = tf.train.Checkpoint(network).read(str(path / "variables" / "variables"))
            status.assert_existing_objects_matched().expect_partial()
            return
        if path.suffix == ".keras":
            _check_archive(network, path)
        elif path.suffix not in (".h5", ".hdf5"):
            raise UserError(f"{path}: is not a .keras or .h5 file, nor a SavedModel folder")
        network.load_weights(str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except _UNREADABLE as error:
        raise _other(path, error) from error


def _other(path: Path, error: Exception) -> UserError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return UserError(f"{path}: holds no weights of this network ({lines[0][:200]})")


def _check_archive(network: tf.keras.Model, path: Path) -> None:
    """A small archive may claim to hold more than memory does."""
    with zipfile.ZipFile(path) as archive:
        weights = archive.getinfo("model.weights.h5").file_size
    most = 4 * sum(variable.shape.num_elements() for variable in network.variables) * 4 + (64 << 20)
    if weights > most:
        raise UserError(f"{path}: its weights take {weights} bytes, this network's at most {most}")


def layer_settings(path: Path) -> dict[str, dict[str, Any]]:
    """{layer's name: its settings, and its class as "class_name"} that a .keras file describes, as plain data.

    Raises UserError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _DESCRIPTION_BYTES:
                raise UserError(f"{path}: its config.json takes more than {_DESCRIPTION_BYTES} bytes")
            tree = json.loads(archive.read("config.json"))
        layers = tree["config"]["layers"]
        return {layer["config"]["name"]: {**layer["config"], "class_name": layer["class_name"]} for layer in layers}
    except _UNREADABLE as error:
        raise _other(path, error) from error

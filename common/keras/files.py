"""Saving networks as Keras files, and reading weights back into a network that this program has built.

The model that a file describes is never built: a .keras or .h5 file may name any function of any module as a layer, and
Keras' safe mode does not stop all of them. Only arrays are read, and matched by name and shape.
"""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Union

import numpy as np
import tensorflow as tf

from common.errors import UserError
from common.runs.files import whole

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
_DESCRIPTION_BYTES = 16 << 20  # limit on a .keras file's config.json, which is far smaller


def save(network: tf.keras.Model, path: Path) -> None:
    """Write a .keras file, in place of one that exists. Raises UserError."""
    with whole(path) as file:
        network.save(file, save_format="keras_v3")  # TensorFlow 2.12 would otherwise write HDF5 under this name
        if tf.keras.Model.__module__.startswith("tf_keras."):
            _name_modules_as_keras_does(file)


def check_saving(network: tf.keras.Model) -> None:
    """Describe a network as `save` would, which takes milliseconds, so that a training does not end in vain.

    Raises:
        UserError: if some layer cannot be described.
    """
    try:
        json.dumps(tf.keras.saving.serialize_keras_object(network))
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"the network cannot be saved, so it is not trained: {lines[0][:90]}; write a slice with "
            "every axis, as x[:, :, :, 6:7], and a layer of your own with get_config()",
            on_all_ranks=True,
        ) from error


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


def check_finite(arrays: Iterable[tuple[str, np.ndarray]], source: Union[str, Path]) -> None:
    """Refuse weights with which a network computes nothing but NaN, or what looks like an answer and is none.

    Args:
        arrays: their names and values.
        source: the file, for the message.

    Raises:
        UserError: if a value is NaN or infinite.
    """
    for name, array in arrays:
        if not np.isfinite(array).all():
            bad = np.count_nonzero(~np.isfinite(array))
            raise UserError(
                f"{source}: {bad} of the {np.size(array)} values of '{name}' are NaN or infinite: take another "
                "checkpoint, or train again"
            )


def load_weights(network: tf.keras.Model, path: Path) -> None:
    """Set all weights of a network from a file.

    Args:
        network: receives the weights.
        path: a .keras file, an .h5 file (of a model or of weights) or a SavedModel folder.

    Raises:
        UserError: if the file is missing or unreadable, belongs to another network, or holds NaN or infinite values.
    """
    _read_weights(network, path)
    check_finite(((variable.name, variable.numpy()) for variable in network.variables), path)


def _read_weights(network: tf.keras.Model, path: Path) -> None:
    try:
        if path.is_dir():
            # SavedModel's object graph identifies layers by their order and variables by name.
            status = tf.train.Checkpoint(network).read(str(path / "variables" / "variables"))
            status.assert_existing_objects_matched().expect_partial()
            return
        if path.suffix == ".keras":
            _check_archive(network, path)
        elif path.suffix not in (".h5", ".hdf5"):
            raise UserError(f"{path}: is neither a .keras or .h5 file nor a SavedModel folder")
        network.load_weights(str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except _UNREADABLE as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> UserError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return UserError(f"{path}: holds no weights of this network ({lines[0][:200]})")


def _check_archive(network: tf.keras.Model, path: Path) -> None:
    """Refuse an archive whose weights would unpack to far more than the network's: it could fill the memory."""
    with zipfile.ZipFile(path) as archive:
        weights = archive.getinfo("model.weights.h5").file_size
    limit = 4 * sum(variable.shape.num_elements() for variable in network.variables) * 4 + (64 << 20)
    if weights > limit:
        raise UserError(f"{path}: its weights take {weights} bytes, this network's at most {limit}")


def layer_settings(path: Path) -> dict[str, dict[str, Any]]:
    """Read the layers that a .keras file describes, as plain data.

    Returns:
        {layer's name: its settings, with its class as "class_name"}.

    Raises:
        UserError: if the file is unreadable.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _DESCRIPTION_BYTES:
                raise UserError(f"{path}: its config.json takes more than {_DESCRIPTION_BYTES} bytes")
            tree = json.loads(archive.read("config.json"))
        layers = tree["config"]["layers"]
        return {layer["config"]["name"]: {**layer["config"], "class_name": layer["class_name"]} for layer in layers}
    except _UNREADABLE as error:
        raise _unusable(path, error) from error

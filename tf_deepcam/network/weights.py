"""Weights by the reference program's parameter names, to exchange checkpoints with it.

PyTorch's arrays have their axes in another order. Kernels of convolutions are (out, in / groups, height, width) in
PyTorch and (height, width, in, out) in Keras, depthwise ones (height, width, in, 1); kernels of transposed ones are
(in, out, height, width) in PyTorch and (height, width, out, in) in Keras.

Files: .cpt and .pth as the reference writes them (a dict with `model`, or a bare state dict; they need PyTorch, which
is optional, and are loaded with weights_only, so that no code in the file is run), .npz and .safetensors by the same
names. What is written here holds a checksum of each array by its name as well, under CHECKSUMS, so that an array
that took another's place does not go unnoticed.
"""

import importlib
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf

from common.errors import UserError, storage_problem
from common.keras.files import check_finite
from tf_deepcam.network.layers import Affine, Convolution, Deconvolution, DepthwiseConv2D

CHECKSUMS = (
    "checksums"  # of a file: an array's name in .npz, a key of the metadata in .safetensors and of the dict in .cpt
)
# Axes of a Keras kernel in PyTorch's order.
_TO_TORCH = {
    tf.keras.layers.Conv2D: (3, 2, 0, 1),
    DepthwiseConv2D: (2, 3, 0, 1),
    Convolution: (3, 2, 0, 1),
    Deconvolution: (3, 2, 0, 1),
}


class Entry(NamedTuple):
    """An array of the network."""

    name: str  # the reference's
    variable: tf.Variable
    axes: Optional[tuple[int, ...]]  # the variable's axes in PyTorch's order; None if it is the same

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in PyTorch's order."""
        shape = tuple(self.variable.shape)
        if self.axes is not None:
            return tuple(shape[axis] for axis in self.axes)
        return (*shape, 1, 1) if "global_average_pool.2" in self.name else shape

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Bring the variable's value, or one of its moments, into PyTorch's order."""
        return np.ascontiguousarray(array if self.axes is None else array.transpose(self.axes)).reshape(self.shape)

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        """Bring an array in PyTorch's order into the variable's."""
        array = np.asarray(array, np.float32)
        return array.reshape(self.variable.shape) if self.axes is None else array.transpose(np.argsort(self.axes))


def entries(network: tf.keras.Model) -> list[Entry]:
    """List every array of the network, in the network's order."""
    result: list[Entry] = []
    names: tuple[str, ...]
    for layer in network.layers:
        axes = _TO_TORCH[type(layer)] if hasattr(layer, "kernel_size") else None
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            variables = [layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance]
        elif isinstance(layer, Affine):
            names, variables = ("weights", "bias"), [layer.scale, layer.shift]
        else:
            names, variables = ("weight", "bias"), layer.weights
        result += [
            Entry(f"{layer.name}.{name}", variable, axes if name == "weight" else None)
            for name, variable in zip(names, variables)
        ]
    return result


def shapes(network: tf.keras.Model) -> dict:
    """Return {reference's name: shape in PyTorch's order} of all arrays, running statistics included."""
    return {entry.name: entry.shape for entry in entries(network)}


def to_arrays(network: tf.keras.Model) -> dict:
    """Return {reference's name: float32 array in PyTorch's order}."""
    return {entry.name: entry.to_torch(entry.variable.numpy()) for entry in entries(network)}


def from_arrays(network: tf.keras.Model, arrays: dict, source: str) -> None:
    """Set all weights and running statistics from arrays by the reference's names.

    Args:
        network: receives them.
        arrays: {name: array}; names may begin with "module." (PyTorch's DistributedDataParallel), and
            num_batches_tracked counters are ignored.
        source: the file, for messages.

    Raises:
        UserError: before anything is changed, if an array is missing, unknown, of another shape or not finite.
    """
    given = {name.removeprefix("module."): array for name, array in arrays.items()}
    given = {name: array for name, array in given.items() if not name.endswith("num_batches_tracked")}
    expected = shapes(network)
    for name, shape in expected.items():
        if name not in given:
            raise UserError(f"{source}: array '{name}' {shape} is missing")
        if tuple(given[name].shape) != shape:
            raise UserError(f"{source}: array '{name}' has shape {tuple(given[name].shape)}, {shape} expected")
    extra = sorted(given.keys() - expected.keys())
    if extra:
        raise UserError(f"{source}: array '{extra[0]}' is not part of the network ({len(extra)} such arrays)")
    check_finite(given.items(), source)
    for entry in entries(network):
        entry.variable.assign(entry.from_torch(given[entry.name]))


def load(network: tf.keras.Model, path: Union[str, Path]) -> None:
    """Set all weights from a .cpt, .pth, .npz or .safetensors file. Raises UserError if it cannot be used."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        arrays, written = _reader(path)(path)
        _check_names(arrays, written, path)
        from_arrays(network, arrays, str(path))
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as {path.suffix} ({error})") from error


def save(network: tf.keras.Model, path: Union[str, Path]) -> None:
    """Write all weights as .cpt or .pth (a dict with `model`), .npz or .safetensors, over an existing file.

    Raises:
        UserError: if the file cannot be written, or its suffix is none of these.
    """
    path = Path(path).expanduser()
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    arrays = to_arrays(network)
    checksums = {name: checksum(array) for name, array in arrays.items()}
    try:
        if path.suffix == ".npz":
            np.savez(temporary, **arrays, **{CHECKSUMS: np.array(json.dumps(checksums).encode())})
        elif path.suffix == ".safetensors":
            package = _optional("safetensors.numpy", path)
            package.save_file(arrays, temporary, {CHECKSUMS: json.dumps(checksums)})
        elif path.suffix in (".cpt", ".pth"):
            torch = torch_for(path)
            model = {name: torch.from_numpy(array) for name, array in arrays.items()}
            torch.save({"model": model, CHECKSUMS: checksums}, temporary)
        else:
            raise UserError(f"{path}: weights are written as .npz, .safetensors, .cpt or .pth")
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({storage_problem(error, path.parent)})") from error
    finally:
        temporary.unlink(missing_ok=True)


def checksum(array: np.ndarray) -> str:
    """Of an array's values, to tell it from another of its shape."""
    return f"{zlib.crc32(np.ascontiguousarray(array, np.float32).tobytes()):08x}"


def _check_names(arrays: dict, written: dict, path: Path) -> None:
    """Raises UserError for an array that is not the one that this program wrote under its name.

    written: checksums by name; empty for files of other programs.
    """
    for name, expected in written.items():
        if name in arrays and checksum(arrays[name]) != expected:
            raise UserError(
                f"{path}: array '{name}' is not the one that was written under this name (another checksum): the file "
                f"was changed; write it anew, or without '{CHECKSUMS}' if that is meant"
            )


# Of a file: its arrays, and the checksums in it by name.
_Read = Callable[[Path], tuple[dict, dict]]


def _reader(path: Path) -> _Read:
    if path.suffix == ".npz":
        return _read_npz
    if path.suffix == ".safetensors":
        return _read_safetensors
    if path.suffix in (".cpt", ".pth"):
        return _read_torch
    raise UserError(f"{path}: weights are read from .npz, .safetensors, .cpt or .pth")


def _read_npz(path: Path) -> tuple[dict, dict]:
    arrays = dict(np.load(path, allow_pickle=False))
    return arrays, _by_name(arrays.pop(CHECKSUMS, np.array("")).item())


def _read_safetensors(path: Path) -> tuple[dict, dict]:
    arrays = _optional("safetensors.numpy", path).load_file(path)
    with _optional("safetensors", path).safe_open(path, framework="numpy") as file:
        return arrays, _by_name((file.metadata() or {}).get(CHECKSUMS, ""))


def _by_name(text: Union[str, bytes]) -> dict:
    """Raises ValueError if it is not what `save` writes."""
    checksums = json.loads(text) if text else {}
    if not isinstance(checksums, dict):
        raise ValueError(f"'{CHECKSUMS}' holds no checksums by name")
    return checksums


def _read_torch(path: Path) -> tuple[dict, dict]:
    content = load_torch(path)
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, np.ndarray) for value in state.values()):
        raise UserError(f"{path}: holds no state dict: expected {{'model': {{name: tensor}}}} or {{name: tensor}}")
    written = content.get(CHECKSUMS) if isinstance(content, dict) else None
    return state, written if isinstance(written, dict) else {}


def load_torch(path: Path) -> Any:
    """Read what torch.save wrote, with tensors as arrays.

    Raises:
        UserError: if it holds anything but tensors, numbers, strings, and lists and dicts of them.
    """
    torch = torch_for(path)
    try:
        return _to_numpy(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # pickle's errors are of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: is not a PyTorch checkpoint of plain tensors ({reason})") from error


def _to_numpy(tree: Any) -> Any:
    """The tree with tensors as arrays, floating-point ones as float32: NumPy has no bfloat16."""
    if isinstance(tree, dict):
        return {key: _to_numpy(value) for key, value in tree.items()}
    if not hasattr(tree, "detach"):
        return tree
    return (tree.detach().float() if tree.is_floating_point() else tree.detach()).numpy()


def torch_for(path: Path) -> Any:
    """Import PyTorch, which the file needs. Raises UserError if it is not installed."""
    return _optional("torch", path)


def _optional(module: str, path: Path):
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"{path}: needs the package {package}, which is not installed: pip install {package}") from None

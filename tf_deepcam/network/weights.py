"""Weights by the reference program's parameter names, so that its checkpoints and ours can be exchanged.

The reference's PyTorch arrays have their axes in another order: convolution kernels are (out, in / groups, height,
width) there and (height, width, in, out) in Keras, depthwise ones (height, width, in, 1), transposed ones (in, out,
height, width) and (height, width, out, in).

Files: .cpt and .pth as the reference writes them (PyTorch, which is optional: a dict with `model`, or a bare state
dict; loaded with weights_only, so that no code in the file is run), .npz and .safetensors by the same names.
"""

import importlib
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf

from common.errors import UserError, storage_problem
from tf_deepcam.network.layers import Affine, Convolution, Deconvolution, DepthwiseConv2D

# Axes of a Keras kernel in PyTorch's order.
_TO_TORCH = {
    tf.keras.layers.Conv2D: (3, 2, 0, 1),
    DepthwiseConv2D: (2, 3, 0, 1),
    Convolution: (3, 2, 0, 1),
    Deconvolution: (3, 2, 0, 1),
}


class Entry(NamedTuple):
    """An array: the reference's name, its variable, and its axes in PyTorch's order, None if they are the same."""

    name: str
    variable: tf.Variable
    axes: Optional[tuple[int, ...]]

    @property
    def shape(self) -> tuple[int, ...]:
        """In PyTorch's order."""
        shape = tuple(self.variable.shape)
        if self.axes is not None:
            return tuple(shape[axis] for axis in self.axes)
        return (*shape, 1, 1) if "global_average_pool.2" in self.name else shape

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """The variable's value, or one of its moments, in PyTorch's order."""
        return np.ascontiguousarray(array if self.axes is None else array.transpose(self.axes)).reshape(self.shape)

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        array = np.asarray(array, np.float32)
        return array.reshape(self.variable.shape) if self.axes is None else array.transpose(np.argsort(self.axes))


def entries(network: tf.keras.Model) -> list[Entry]:
    """Of every array, in the network's order."""
    found: list[Entry] = []
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
        found += [
            Entry(f"{layer.name}.{name}", variable, axes if name == "weight" else None)
            for name, variable in zip(names, variables)
        ]
    return found


def shapes(network: tf.keras.Model) -> dict:
    """{reference's name: shape in PyTorch's order} of all arrays, running statistics included."""
    return {entry.name: entry.shape for entry in entries(network)}


def to_arrays(network: tf.keras.Model) -> dict:
    """{reference's name: float32 array in PyTorch's order}."""
    return {entry.name: entry.to_torch(entry.variable.numpy()) for entry in entries(network)}


def from_arrays(network: tf.keras.Model, arrays: dict, source: str) -> None:
    """Set all weights and running statistics from arrays by the reference's names.

    Names may begin with "module." (PyTorch's DistributedDataParallel); num_batches_tracked counters are passed over.
    Raises UserError, before anything is changed, if an array is missing, unknown or of another shape.
    """
    given = {name.removeprefix("module."): array for name, array in arrays.items()}
    given = {name: array for name, array in given.items() if not name.endswith("num_batches_tracked")}
    wanted = shapes(network)
    for name, shape in wanted.items():
        if name not in given:
            raise UserError(f"{source}: array '{name}' {shape} is missing")
        if tuple(given[name].shape) != shape:
            raise UserError(f"{source}: array '{name}' has shape {tuple(given[name].shape)}, {shape} expected")
    extra = sorted(given.keys() - wanted.keys())
    if extra:
        raise UserError(f"{source}: array '{extra[0]}' is not part of the network ({len(extra)} such arrays)")
    for entry in entries(network):
        entry.variable.assign(entry.from_torch(given[entry.name]))


def load(network: tf.keras.Model, path: Union[str, Path]) -> None:
    """Set all weights from a .cpt, .pth, .npz or .safetensors file. Raises UserError."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        from_arrays(network, _reader(path)(path), str(path))
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as {path.suffix} ({error})") from error


def save(network: tf.keras.Model, path: Union[str, Path]) -> None:
    """Write all weights as .cpt or .pth (a dict with `model`), .npz or .safetensors; an older file is replaced."""
    path = Path(path).expanduser()
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    arrays = to_arrays(network)
    try:
        if path.suffix == ".npz":
            np.savez(temporary, **arrays)
        elif path.suffix == ".safetensors":
            _optional("safetensors.numpy", path).save_file(arrays, temporary)
        elif path.suffix in (".cpt", ".pth"):
            torch = torch_for(path)
            torch.save({"model": {name: torch.from_numpy(array) for name, array in arrays.items()}}, temporary)
        else:
            raise UserError(f"{path}: weights are written as .npz, .safetensors, .cpt or .pth")
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({storage_problem(error, path.parent)})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _reader(path: Path):
    if path.suffix == ".npz":
        return lambda file: dict(np.load(file, allow_pickle=False))
    if path.suffix == ".safetensors":
        return _optional("safetensors.numpy", path).load_file
    if path.suffix in (".cpt", ".pth"):
        return _read_torch
    raise UserError(f"{path}: weights are read from .npz, .safetensors, .cpt or .pth")


def _read_torch(path: Path) -> dict:
    found = load_torch(path)
    state = found.get("model", found) if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, np.ndarray) for value in state.values()):
        raise UserError(f"{path}: holds no state dict: expected {{'model': {{name: tensor}}}} or {{name: tensor}}")
    return state


def load_torch(path: Path) -> Any:
    """What torch.save wrote, with tensors as arrays: nothing but them, numbers, words, and lists and dicts of them."""
    torch = torch_for(path)
    try:
        return _to_numpy(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # pickle's errors are of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: is not a PyTorch checkpoint of plain tensors ({reason})") from error


def _to_numpy(tree: Any) -> Any:
    """Floating-point tensors as float32 arrays: NumPy knows no bfloat16."""
    if isinstance(tree, dict):
        return {key: _to_numpy(value) for key, value in tree.items()}
    if not hasattr(tree, "detach"):
        return tree
    return (tree.detach().float() if tree.is_floating_point() else tree.detach()).numpy()


def torch_for(path: Path) -> Any:
    """PyTorch, which the file needs. Raises UserError where it is not installed."""
    return _optional("torch", path)


def _optional(module: str, path: Path):
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"{path}: needs the package {package}, which is not installed: pip install {package}") from None

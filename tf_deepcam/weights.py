"""Weights by the reference program's parameter names, so that its checkpoints and ours can be exchanged.

The reference's PyTorch arrays have their axes in another order: convolution kernels are (out, in / groups, height,
width) there and (height, width, in, out) in Keras, depthwise ones (height, width, in, 1), transposed ones (in, out,
height, width) and (height, width, out, in).
"""

import numpy as np
import tensorflow as tf

from common.errors import UserError
from tf_deepcam.model import Affine

# Axes of a Keras kernel in PyTorch's order.
_TO_TORCH = {
    tf.keras.layers.Conv2D: (3, 2, 0, 1),
    tf.keras.layers.DepthwiseConv2D: (2, 3, 0, 1),
    tf.keras.layers.Conv2DTranspose: (3, 2, 0, 1),
}


def _entries(network: tf.keras.Model) -> list:
    """(reference's name, tf.Variable, axes of it in PyTorch's order or None) of every array, in the network's order."""
    entries = []
    for layer in network.layers:
        axes = _TO_TORCH.get(type(layer))
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            variables = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        elif isinstance(layer, Affine):
            names, variables = ("weights", "bias"), (layer.scale, layer.shift)
        else:
            names, variables = ("weight", "bias"), layer.weights
        entries += [
            (f"{layer.name}.{name}", v, axes if name == "weight" else None) for name, v in zip(names, variables)
        ]
    return entries


def _torch_shape(name: str, variable: tf.Variable, axes) -> tuple:
    shape = tuple(variable.shape)
    if axes is not None:
        return tuple(shape[axis] for axis in axes)
    return (*shape, 1, 1) if "global_average_pool.2" in name else shape


def shapes(network: tf.keras.Model) -> dict:
    """{reference's name: shape in PyTorch's order} of all arrays, running statistics included."""
    return {name: _torch_shape(name, variable, axes) for name, variable, axes in _entries(network)}


def to_arrays(network: tf.keras.Model) -> dict:
    """{reference's name: float32 array in PyTorch's order}."""
    return {
        name: np.ascontiguousarray(variable.numpy() if axes is None else variable.numpy().transpose(axes)).reshape(
            _torch_shape(name, variable, axes)
        )
        for name, variable, axes in _entries(network)
    }


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
    for name, variable, axes in _entries(network):
        array = np.asarray(given[name], np.float32)
        variable.assign(array.reshape(variable.shape) if axes is None else array.transpose(np.argsort(axes)))

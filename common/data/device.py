"""Copying batches to the GPU: ahead of their use, and in half precision if the network would cast them to it anyway.

On CPUs, batches stay as they are.
"""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from common.distributed import devices

_GPU = "/GPU:0"  # the only one that this process sees
_READY = 2  # batches on the device: the one in use and the next


def shipped_dtype(network: tf.keras.Model) -> tf.DType:
    """Return the type in which the network's input is copied to the device.

    Returns:
        The half precision in which all of the network's first layers compute; they would cast the input to the same
        bits themselves. float32 if there is no GPU, or if one of these layers computes in float32.
    """
    dtypes = {layer.compute_dtype for layer in _first_layers(network)}
    (dtype,) = dtypes if len(dtypes) == 1 else {"float32"}
    return tf.as_dtype(dtype if devices.on_gpu() and dtype in ("float16", "bfloat16") else "float32")


def _first_layers(network: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """Return the layers that take the network's input; none for a model that is not a graph of layers."""
    inputs = {id(tensor) for tensor in getattr(network, "inputs", None) or []}
    nodes = [node for layer in network.layers for node in layer._inbound_nodes]
    return [node.layer for node in nodes if inputs & {id(tensor) for tensor in tf.nest.flatten(node.keras_inputs)}]


def cast_input(batch: tuple, dtype: tf.DType) -> tuple:
    """Cast the batch's first tensor, the network's input."""
    return (tf.cast(batch[0], dtype), *batch[1:])


def to_device(batches: Any, *, dtype: tf.DType = tf.float32, ahead: bool = True) -> Iterable:
    """Make a pipeline copy its batches to the GPU.

    Args:
        batches: a tf.data pipeline; anything else is returned unchanged.
        dtype: type in which the network's input is copied, from `shipped_dtype`.
        ahead: copy batches before they are requested. Not for a step that keeps them in host memory.

    Returns:
        What to iterate over in place of `batches`.
    """
    if not devices.on_gpu() or not isinstance(batches, tf.data.Dataset):
        return batches
    if dtype != tf.float32:
        batches = batches.map(lambda *batch: cast_input(batch, dtype))
    # TensorFlow requires this to be the last operation of a pipeline.
    return batches.apply(tf.data.experimental.prefetch_to_device(_GPU, _READY)) if ahead else batches

"""The way of a batch to the GPU: beforehand, and in half precision where the network would make it that at once.

On CPUs nothing of this happens.
"""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from common.distributed import devices

_GPU = "/GPU:0"  # the only one that this process sees
_READY = 2  # batches on the device: the one that is used and the next


def shipped_dtype(network: tf.keras.Model) -> tf.DType:
    """In which the network's input travels: the half precision that all its first layers compute in, which cast it to
    that themselves and to the same bits; float32 where there is no GPU, or one of them computes in float32."""
    dtypes = {layer.compute_dtype for layer in _first_layers(network)}
    (dtype,) = dtypes if len(dtypes) == 1 else {"float32"}
    return tf.as_dtype(dtype if devices.on_gpu() and dtype in ("float16", "bfloat16") else "float32")


def _first_layers(network: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """Those that take its input; none of a model that is no graph of layers."""
    inputs = {id(tensor) for tensor in getattr(network, "inputs", None) or []}
    nodes = [node for layer in network.layers for node in layer._inbound_nodes]
    return [node.layer for node in nodes if inputs & {id(tensor) for tensor in tf.nest.flatten(node.keras_inputs)}]


def cast_input(batch: tuple, dtype: tf.DType) -> tuple:
    """The batch with its first tensor, the network's input, in this type."""
    return (tf.cast(batch[0], dtype), *batch[1:])


def to_device(batches: Any, *, dtype: tf.DType = tf.float32, ahead: bool = True) -> Iterable:
    """What a loop is to go over in place of `batches`, a tf.data pipeline.

    dtype: of the network's input, as shipped_dtype says. ahead: copy batches to the GPU before they are asked for; not
    where the step keeps them in host memory.
    """
    if not devices.on_gpu() or not isinstance(batches, tf.data.Dataset):
        return batches
    if dtype != tf.float32:
        batches = batches.map(lambda *batch: cast_input(batch, dtype))
    # The last operation of a pipeline, as TensorFlow demands.
    return batches.apply(tf.data.experimental.prefetch_to_device(_GPU, _READY)) if ahead else batches

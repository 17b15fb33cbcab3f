"""What of a traced function a GPU would not do in its own memory, read from TensorFlow's kernel registry.

The wheel for Linux lists the kernels of its GPU code, with the arguments that each keeps in host memory, on machines
without a GPU too. int32 is the case that counts: TensorFlow takes it for shapes, and compares, adds and reshapes it on
the host, so that a picture of classes crosses the bus twice for each of these operations, and the GPU waits.
"""

from collections.abc import Iterator

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import kernels

LARGE = 1024  # elements; what is smaller is a shape or a sum
# No kernels of their own: calls of functions, whose operations are looked at themselves.
_CALLS = {"PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf"}


def has_gpu_kernels() -> bool:
    """Whether this TensorFlow was built with GPU code."""
    return any(kernel.device_type == "GPU" for kernel in kernels.get_registered_kernels_for_op("Conv2D").kernel)


def large_in_host_memory(concrete) -> list[str]:
    """Operations of a concrete function that keep a large tensor in host memory though they may run on a GPU: its
    kernel does so, or there is none for these types. What is placed on the CPU by name is not among them."""
    return sorted({line for operation in _operations(concrete.graph, set()) for line in _problems(operation)})


def _operations(graph, seen: set) -> Iterator[tf.Operation]:
    for operation in graph.get_operations():
        yield operation
        for value in operation.node_def.attr.values():
            for name in [value.func.name, *(each.name for each in value.list.func)]:
                if name and name not in seen:
                    seen.add(name)
                    yield from _operations(graph._get_function(name).graph, seen)


def _problems(operation: tf.Operation) -> Iterator[str]:
    if "CPU" in operation.device or operation.type in _CALLS | {"Placeholder", "Const", "NoOp"}:
        return
    large = [tensor for tensor in (*operation.inputs, *operation.outputs) if _is_large(tensor)]
    if not large:
        return
    fitting = [kernel for kernel in _gpu_kernels(operation.type) if _fits(kernel, operation)]
    if not fitting:
        yield f"{operation.type} of {_types(large)}: no kernel for GPUs"
        return
    kept = [tensor for tensor in _tensors_of(operation, set(fitting[0].host_memory_arg)) if _is_large(tensor)]
    if kept:
        yield f"{operation.type} of {_types(kept)}: in host memory"


def _gpu_kernels(kind: str) -> list:
    """GPU's own first: TensorFlow takes those for any device, called DEFAULT, where there is none."""
    registered = kernels.get_registered_kernels_for_op(kind).kernel
    return [kernel for device in ("GPU", "DEFAULT") for kernel in registered if kernel.device_type == device]


def _fits(kernel, operation: tf.Operation) -> bool:
    attributes = operation.node_def.attr
    return all(
        attributes[constraint.name].type in constraint.allowed_values.list.type
        for constraint in kernel.constraint
        if attributes[constraint.name].type != types_pb2.DT_INVALID
    )


def _tensors_of(operation: tf.Operation, names: set[str]) -> Iterator[tf.Tensor]:
    """The operation's tensors that belong to arguments of these names."""
    for arguments, tensors in (
        (operation.op_def.input_arg, list(operation.inputs)),
        (operation.op_def.output_arg, list(operation.outputs)),
    ):
        first = 0
        for argument in arguments:
            attributes = operation.node_def.attr
            count = 1
            if argument.number_attr:
                count = attributes[argument.number_attr].i
            elif argument.type_list_attr:
                count = len(attributes[argument.type_list_attr].list.type)
            if argument.name in names:
                yield from tensors[first : first + count]
            first += count


def _is_large(tensor: tf.Tensor) -> bool:
    """Of unknown shape counts as large if it has the rank of a picture."""
    if tensor.dtype in (tf.resource, tf.variant, tf.string):
        return False
    elements = tensor.shape.num_elements()
    if elements is None:
        return tensor.shape.rank is None or tensor.shape.rank > 2
    return elements > LARGE


def _types(tensors: list) -> str:
    return ", ".join(sorted({f"{tensor.dtype.name} {tensor.shape}" for tensor in tensors}))

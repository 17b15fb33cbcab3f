"""Training passes that keep few activations and recompute the others for the backward pass (checkpointing).

The network's layers are run in segments. Activations between segments are kept, those inside one only until its end;
the backward pass runs the segment forward again. Source: Chen et al., arXiv:1604.06174. Not for networks with dropout,
which would draw another mask the second time.
"""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Callable

import tensorflow as tf

# A segment ends after a sum (a residual block) and before a layer that changes height and width.
_SUM = tf.keras.layers.Add
_RESIZING = (tf.keras.layers.MaxPool2D, tf.keras.layers.UpSampling2D, tf.keras.layers.Conv2DTranspose)


class _Segment:
    """Consecutive layers of a network as a function of tensors.

    Attributes:
        needed: the Keras tensors that earlier layers provide.
        kept: the Keras tensors that later layers or the caller use.
    """

    def __init__(self, layers: list):
        self.layers = layers
        self.nodes = [layer.inbound_nodes[0] for layer in layers]
        own = {id(layer.output) for layer in layers}
        self.needed = list({id(x): x for node in self.nodes for x in node.keras_inputs if id(x) not in own}.values())
        self.kept: list = []

    def run(self, values: tuple) -> tuple:
        """Compute the values of `kept` from those of `needed`, with training=True."""
        computed = dict(zip(map(id, self.needed), values))
        for layer, node in zip(self.layers, self.nodes):
            arguments, options = tf.nest.map_structure(
                lambda x: computed.get(id(x), x), (node.call_args, node.call_kwargs)
            )
            if "training" in inspect.signature(layer.call).parameters:
                options["training"] = True
            computed[id(layer.output)] = layer(*arguments, **options)
        return tuple(computed[id(x)] for x in self.kept)


def _segments(network: tf.keras.Model) -> list[_Segment]:
    """The network's segments in the order in which they are run."""
    parts: list[list] = [[]]
    for layer in network.layers:  # ordered by depth: a layer comes after those whose outputs it takes
        if isinstance(layer, tf.keras.layers.InputLayer):
            continue
        if isinstance(layer, _RESIZING) and parts[-1]:
            parts.append([])
        parts[-1].append(layer)
        if isinstance(layer, _SUM):
            parts.append([])
    segments = [_Segment(layers) for layers in parts if layers]
    used_later = {id(network.output)}
    for segment in reversed(segments):
        segment.kept = [layer.output for layer in segment.layers if id(layer.output) in used_later]
        used_later |= {id(x) for x in segment.needed}
    return segments


@contextlib.contextmanager
def _without_updates(layers: list) -> Iterator[None]:
    """Keep batch norms from updating their moving statistics: the first of the two passes has done so."""
    for layer in layers:
        layer.add_update = lambda *_: None
    try:
        yield
    finally:
        for layer in layers:
            del layer.add_update  # uncovers the class's own


def _not_before(slope: tf.Tensor, values: tuple) -> tuple:
    """Return the same values, made to depend on the gradient `slope`, so that the second pass is neither run early nor
    merged with the first. A zero is added because XLA ignores control dependencies; it is NaN where the gradient is."""
    zero = tf.minimum(tf.abs(tf.reshape(slope, [-1])[0]), 0)
    return tuple(x + tf.cast(zero, x.dtype) for x in values)


def _recomputed(segment: _Segment) -> Callable[..., tuple]:
    @tf.custom_gradient
    def function(*values):
        def gradients(*slopes, variables=()):
            again = _not_before(slopes[0], values)
            with tf.GradientTape() as tape, _without_updates(segment.layers):
                tape.watch(again)
                kept = segment.run(again)
            for_values, for_variables = tape.gradient(kept, (again, list(variables)), slopes)
            return (for_values, for_variables) if variables else for_values

        return segment.run(values), gradients

    return function


def training_pass(network: tf.keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function like network(x, training=True), to take gradients of inside a tf.function.

    Args:
        network: functional, with one input and one output, and no layer used twice.
    """
    segments = _segments(network)
    # The backward pass begins with the last segment: computing it twice would save nothing.
    functions: list[Callable[..., tuple]] = [_recomputed(segment) for segment in segments[:-1]]
    functions.append(lambda *values: segments[-1].run(values))

    def run(x: tf.Tensor) -> tf.Tensor:
        computed = {id(network.input): x}
        for segment, function in zip(segments, functions):
            values = function(*(computed[id(needed)] for needed in segment.needed))
            computed.update(zip(map(id, segment.kept), values))
        return computed[id(network.output)]

    return run

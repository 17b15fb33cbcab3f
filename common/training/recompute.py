"""Training passes that keep few activations: the others are computed a second time when their gradient is due.

The network's layers are run in segments. Between them activations are kept, inside them only until the segment's end;
the backward pass runs a segment forward again. Source: Chen et al., arXiv:1604.06174. For networks without dropout,
which would draw another mask the second time.
"""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Callable

import tensorflow as tf

# A segment ends behind a sum (a residual block) and before a layer that changes height and width.
_SUM = tf.keras.layers.Add
_RESIZING = (tf.keras.layers.MaxPool2D, tf.keras.layers.UpSampling2D, tf.keras.layers.Conv2DTranspose)


class _Segment:
    """Some of a network's layers, one after the other, as a function of tensors.

    needed, kept: the Keras tensors that come in from earlier layers, and those that later ones or the caller use.
    """

    def __init__(self, layers: list):
        self.layers = layers
        self.nodes = [layer.inbound_nodes[0] for layer in layers]
        made = {id(layer.output) for layer in layers}
        self.needed = list({id(x): x for node in self.nodes for x in node.keras_inputs if id(x) not in made}.values())
        self.kept: list = []

    def run(self, values: tuple) -> tuple:
        """Values of `kept` from those of `needed`, in training."""
        known = dict(zip(map(id, self.needed), values))
        for layer, node in zip(self.layers, self.nodes):
            arguments, options = tf.nest.map_structure(
                lambda x: known.get(id(x), x), (node.call_args, node.call_kwargs)
            )
            if "training" in inspect.signature(layer.call).parameters:
                options["training"] = True
            known[id(layer.output)] = layer(*arguments, **options)
        return tuple(known[id(x)] for x in self.kept)


def _segments(network: tf.keras.Model) -> list[_Segment]:
    """In the order in which they are run."""
    parts: list[list] = [[]]
    for layer in network.layers:  # by their depth: none stands before one whose output it takes
        if isinstance(layer, tf.keras.layers.InputLayer):
            continue
        if isinstance(layer, _RESIZING) and parts[-1]:
            parts.append([])
        parts[-1].append(layer)
        if isinstance(layer, _SUM):
            parts.append([])
    segments = [_Segment(layers) for layers in parts if layers]
    wanted = {id(network.output)}
    for segment in reversed(segments):
        segment.kept = [layer.output for layer in segment.layers if id(layer.output) in wanted]
        wanted |= {id(x) for x in segment.needed}
    return segments


@contextlib.contextmanager
def _without_updates(layers: list) -> Iterator[None]:
    """Batch norms leave their moving statistics alone: the first of the two passes has updated them."""
    for layer in layers:
        layer.add_update = lambda *_: None
    try:
        yield
    finally:
        for layer in layers:
            del layer.add_update  # the class's own again


def _not_before(slope: tf.Tensor, values: tuple) -> tuple:
    """The same values, not known before the gradient `slope` is, so that nothing is computed early, or taken from the
    first pass instead. A sum with nothing: XLA does not heed control dependencies. NaN where the gradient is."""
    nothing = tf.minimum(tf.abs(tf.reshape(slope, [-1])[0]), 0)
    return tuple(x + tf.cast(nothing, x.dtype) for x in values)


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
    """As network(x, training=True), for gradients inside a tf.function.

    network: functional, of one input and one output, none of its layers used twice.
    """
    segments = _segments(network)
    # The last one's gradients are due at once: to compute it twice would save nothing.
    functions: list[Callable[..., tuple]] = [_recomputed(segment) for segment in segments[:-1]]
    functions.append(lambda *values: segments[-1].run(values))

    def run(x: tf.Tensor) -> tf.Tensor:
        known = {id(network.input): x}
        for segment, function in zip(segments, functions):
            known.update(zip(map(id, segment.kept), function(*(known[id(needed)] for needed in segment.needed))))
        return known[id(network.output)]

    return run

"""A network's inference pass as a compiled function: with the weights of the moment, or with those of a trained one."""

from typing import Callable, Optional

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

Forward = Callable[[np.ndarray], tf.Tensor]  # or of a tensor


def forward(network: tf.keras.Model, *, xla: bool = False) -> Forward:
    """It follows the network's weights."""
    return tf.function(
        lambda images: network(images, training=False), jit_compile=xla or None, reduce_retracing=True, autograph=False
    )


def frozen(network: tf.keras.Model, *, xla: bool = False) -> Forward:
    """It keeps the weights that the network has now, with batch norms folded (`folded`), and equals it within rounding.

    Without XLA weights are constants, which TensorFlow and oneDNN prepare once in place of in each call: kernels are
    cast to the network's precision and reordered, and a convolution computes its bias and ReLU along.
    """
    network = folded(network)
    if xla:
        return forward(network, xla=True)
    signature = tf.TensorSpec(network.input_shape, network.input.dtype)
    compiled = tf.function(lambda images: network(images, training=False), [signature], autograph=False)
    constant = convert_variables_to_constants_v2(compiled.get_concrete_function(), aggressive_inlining=True)

    return lambda images: constant(tf.cast(images, signature.dtype))[0]


def folded(network: tf.keras.Model) -> tf.keras.Model:
    """The same function without batch norms: scales go into the convolutions before them, shifts become biases.

    A batch norm that does not follow a convolution of its own stays, and so does one that follows a transposed
    convolution: TensorFlow computes ReLUs along with batch norms, but not with a shift alone. The network itself is
    left as it is, and returned where there is nothing to fold.
    """
    pairs = {layer.name: _convolution_before(layer) for layer in network.layers}
    sources = {name: convolution for name, convolution in pairs.items() if convolution}
    if not sources:
        return network

    def replaced(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if layer.name in sources:  # in the convolution's type: batch norms may be kept in float32
            return Shift(name=layer.name, dtype=sources[layer.name].dtype_policy)
        return type(layer).from_config(layer.get_config())

    result = tf.keras.models.clone_model(network, clone_function=replaced)
    for layer in network.layers:
        if layer.name not in sources:
            result.get_layer(layer.name).set_weights(layer.get_weights())
    for name, convolution in sources.items():
        norm = network.get_layer(name)
        scale = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
        result.get_layer(name).set_weights([norm.beta.numpy() - norm.moving_mean.numpy() * scale])
        kernel, *bias = convolution.get_weights()
        result.get_layer(convolution.name).set_weights([kernel * scale, *(value * scale for value in bias)])
    return result


class Shift(tf.keras.layers.Layer):
    """A bias for each channel: what is left of a folded batch norm."""

    def build(self, input_shape):
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],))

    def call(self, inputs):
        return tf.nn.bias_add(inputs, tf.cast(self.bias, inputs.dtype))


def _convolution_before(layer: tf.keras.layers.Layer) -> Optional[tf.keras.layers.Conv2D]:
    """The convolution whose result only this batch norm takes; None for any other layer."""
    if not isinstance(layer, tf.keras.layers.BatchNormalization):
        return None
    before = layer.input._keras_history.layer
    plain = isinstance(before, tf.keras.layers.Conv2D) and not isinstance(before, tf.keras.layers.Conv2DTranspose)
    alone = plain and len(before.outbound_nodes) == 1
    return before if alone and before.activation is tf.keras.activations.linear else None

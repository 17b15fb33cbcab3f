"""A network's inference pass as a compiled function, which follows the network's weights or keeps a copy of them."""

from typing import Callable, Optional

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from common import startup

Forward = Callable[[np.ndarray], tf.Tensor]  # takes tensors as well


def forward(network: tf.keras.Model, *, xla: bool = False) -> Forward:
    """Compile the inference pass; it uses whatever weights the network has when it is called."""
    return tf.function(
        lambda images: network(images, training=False), jit_compile=xla or None, reduce_retracing=True, autograph=False
    )


def frozen(network: tf.keras.Model, *, xla: bool = False) -> Forward:
    """Compile the inference pass with the network's present weights, batch norms folded (`folded`).

    Its results equal the network's to within rounding. Without XLA, weights are constants, which TensorFlow and oneDNN
    prepare once instead of in every call: kernels are cast to the network's precision and reordered, and a convolution
    adds its bias and applies its ReLU in the same operation.
    """
    network = folded(network)
    if xla:
        return forward(network, xla=True)
    signature = tf.TensorSpec(network.input_shape, network.input.dtype)
    compiled = tf.function(lambda images: network(images, training=False), [signature], autograph=False)
    with startup.without_messages():
        constant = convert_variables_to_constants_v2(compiled.get_concrete_function(), aggressive_inlining=True)

    return lambda images: constant(tf.cast(images, signature.dtype))[0]


def folded(network: tf.keras.Model) -> tf.keras.Model:
    """Copy a network without its batch norms: their scales go into the preceding convolutions, shifts become biases.

    A batch norm stays if its input is not a convolution, if others use that convolution's output too, or if the
    convolution is transposed: TensorFlow fuses a ReLU with a batch norm, but not with a shift alone. The given network
    is not changed; it is returned itself if there is nothing to fold.
    """
    pairs = {layer.name: _convolution_before(layer) for layer in network.layers}
    sources = {name: convolution for name, convolution in pairs.items() if convolution}
    if not sources:
        return network

    def copy_or_shift(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if layer.name in sources:  # of the convolution's type: batch norms may be kept in float32
            return Shift(name=layer.name, dtype=sources[layer.name].dtype_policy)
        return type(layer).from_config(layer.get_config())

    result = tf.keras.models.clone_model(network, clone_function=copy_or_shift)
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
    """Adds a bias to each channel: what remains of a folded batch norm."""

    def build(self, input_shape):
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],))

    def call(self, inputs):
        return tf.nn.bias_add(inputs, tf.cast(self.bias, inputs.dtype))


def _convolution_before(layer: tf.keras.layers.Layer) -> Optional[tf.keras.layers.Conv2D]:
    """The convolution whose output goes to this batch norm alone; None if there is none."""
    if not isinstance(layer, tf.keras.layers.BatchNormalization):
        return None
    before = layer.input._keras_history.layer
    plain = isinstance(before, tf.keras.layers.Conv2D) and not isinstance(before, tf.keras.layers.Conv2DTranspose)
    alone = plain and len(before.outbound_nodes) == 1
    return before if alone and before.activation is tf.keras.activations.linear else None

"""Nearest up-sampling by 2 with a gradient that XLA knows and that is deterministic on GPUs; Keras' own has neither."""

import tensorflow as tf


@tf.custom_gradient
def twice_as_large(x: tf.Tensor):
    """Every pixel of [batch, height, width, channels] four times: nearest up-sampling by 2.

    The gradient is a sum over 2 x 2 pixels: pooling, which is exact (a factor of 4) and 100 times as fast as
    reduce_sum.
    """
    batch, height, width, channels = (
        size if number is None else number for size, number in zip(tf.unstack(tf.shape(x)), x.shape)
    )
    copies = tf.broadcast_to(x[:, :, None, :, None, :], [batch, height, 2, width, 2, channels])

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return 4 * tf.nn.avg_pool2d(upstream, 2, 2, "VALID")

    return tf.reshape(copies, [batch, 2 * height, 2 * width, channels]), gradient


class TwiceAsLarge(tf.keras.layers.UpSampling2D):
    """As Keras' UpSampling2D(2), which stands for it in saved networks (`Savable`)."""

    def call(self, inputs):
        return twice_as_large(inputs)


class Savable(tf.keras.Model):
    """A functional network that is saved in Keras' own layers, so that programs without this one can load it."""

    def save(self, filepath, *arguments, save_format=None, **options) -> None:
        """As tf.keras.Model.save. A SavedModel of layers that are all Keras' own has the function that `call` computes
        besides them; files have layers only."""
        own = any(isinstance(layer, TwiceAsLarge) for layer in self.layers)
        if save_format == "tf" and not own:
            super().save(filepath, *arguments, save_format=save_format, **options)
        else:
            in_keras_layers(self).save(filepath, *arguments, save_format=save_format, **options)


def in_keras_layers(network: tf.keras.Model) -> tf.keras.Model:
    """A copy with the same weights, of Keras' class and with its UpSampling2D for each `TwiceAsLarge`."""

    def replaced(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if isinstance(layer, TwiceAsLarge):
            return tf.keras.layers.UpSampling2D(2, dtype=layer.dtype_policy)
        return type(layer).from_config(layer.get_config())

    plain = tf.keras.Model(network.inputs, network.outputs, name=network.name)
    result = tf.keras.models.clone_model(plain, clone_function=replaced)
    result.set_weights(network.get_weights())
    return result

"""Batch normalisation: by the kernels, and with statistics shared within groups of ranks.

All ranks of a group hold the same number of samples, so the group's mean is the mean of the ranks' means, and its
variance follows from the mean of squares. A group is `group_size` ranks with consecutive numbers, which are on one node
if it divides the ranks of a node. Sources: MLPerf HPC's DeepCAM reference (batchnorm_group_size); Ioffe and Szegedy,
arXiv:1502.03167.
"""

from typing import Union

import tensorflow as tf

from common import distributed
from tf_deepcam.network import kernels as forms
from tf_deepcam.network.kernels import Kernels


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class BatchNormalization(tf.keras.layers.BatchNormalization):
    """Keras' layer, computed by the kernels where they have their own implementation.

    The class is named like Keras' own because .keras files name a layer's arrays by its class.
    """

    def __init__(self, *, kernels: Union[Kernels, str, None] = None, **options):
        super().__init__(**options)
        self.kernels = forms.chosen(kernels)

    def call(self, inputs, training=None):
        updates = bool(training and self.trainable)
        parameters = (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        result = self.kernels.batch_norm(
            inputs, parameters, epsilon=self.epsilon, momentum=self.momentum, training=updates
        )
        if result is None:
            return super().call(inputs, training=training)
        outputs, mean, variance = result
        if updates:
            self.add_update(lambda: self.moving_mean.assign(mean))
            self.add_update(lambda: self.moving_variance.assign(variance))
        return outputs

    def get_config(self) -> dict:
        return {**super().get_config(), "kernels": self.kernels.name}


@tf.keras.utils.register_keras_serializable("common")
class GroupBatchNormalization(tf.keras.layers.BatchNormalization):
    """Keras' layer with mean and variance over all ranks of this rank's group."""

    def __init__(self, **options):
        super().__init__(fused=False, **options)

    def call(self, inputs, training=None):
        if not (training and self.trainable):
            return super().call(inputs, training=training)
        values = tf.cast(inputs, tf.float32)
        mean, variance = _group_moments(values)
        count = tf.cast(tf.size(values) // values.shape[-1] * distributed.group_ranks(), tf.float32)
        self._move(self.moving_mean, mean)
        # Unbiased (n - 1) over the whole group's values, as a single rank with all of them would keep it.
        self._move(self.moving_variance, variance * (count / tf.maximum(count - 1.0, 1.0)))
        outputs = tf.nn.batch_normalization(values, mean, variance, self.beta, self.gamma, self.epsilon)
        return tf.cast(outputs, inputs.dtype)

    def _move(self, average: tf.Variable, value: tf.Tensor) -> None:
        self.add_update(lambda: average.assign_sub((average - value) * (1.0 - self.momentum)))


def _group_moments(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and biased variance (n) of each channel over the group's values [batch, height, width, channels] float32."""
    axes = list(range(values.shape.rank - 1))
    sums = tf.stack([tf.reduce_mean(values, axes), tf.reduce_mean(tf.square(values), axes)])
    mean, mean_of_squares = tf.unstack(distributed.average_over_group(sums))
    return mean, tf.maximum(mean_of_squares - tf.square(mean), 0.0)

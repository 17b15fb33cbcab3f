"""Batch normalisation: by the form that the kernels have, and with statistics shared inside groups of ranks.

Every rank of a group holds as many samples, so the group's mean is the mean of means, and its variance follows from
the mean of squares. Groups are `group_size` neighbours by rank number, which are on one node if it divides the ranks
of a node. Source: MLPerf HPC's DeepCAM reference (batchnorm_group_size); Ioffe and Szegedy, arXiv:1502.03167.
"""

from typing import Union

import tensorflow as tf

from common import distributed
from tf_deepcam.network import kernels as forms
from tf_deepcam.network.kernels import Kernels


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class BatchNormalization(tf.keras.layers.BatchNormalization):
    """As Keras' layer, by the kernels' own form where they have one.

    It has the name of Keras' own because .keras files name a layer's arrays by its class.
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
    """As Keras' layer, with the mean and variance over all ranks of this rank's group."""

    def __init__(self, **options):
        super().__init__(fused=False, **options)

    def _calculate_mean_and_var(self, inputs, reduction_axes, keep_dims, mask=None):
        inputs = tf.cast(inputs, tf.float32)
        sums = tf.stack([tf.reduce_mean(inputs, reduction_axes), tf.reduce_mean(tf.square(inputs), reduction_axes)])
        mean, mean_of_squares = tf.unstack(distributed.average_over_group(sums))
        variance = tf.maximum(mean_of_squares - tf.square(mean), 0.0)
        if keep_dims:
            mean, variance = (tf.reshape(value, [1] * (inputs.shape.rank - 1) + [-1]) for value in (mean, variance))
        return mean, variance

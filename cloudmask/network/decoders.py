"""A step up in a U-Net: nearest up-sampling by 2, concatenation with the skipped features, a 3 x 3 convolution.

Two forms of one function of (low [batch, h, w, c], skipped [batch, 2 h, 2 w, d], convolution): layers, as the reference
program has it, which saved files name; and a transposed convolution, which takes fewer products.
"""

import numpy as np
import tensorflow as tf

from cloudmask.network.up_sampling import TwiceAsLarge

# Which of a 3 x 3 kernel's rows (columns likewise) make each of the 4 rows of `transposed`'s: input row i gives output
# rows 2 i - 1 to 2 i + 2, and is met twice by those whose kernel covers both of its copies.
_ROWS = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)


def layers(low, skipped, convolution: tf.keras.layers.Conv2D, larger: type = TwiceAsLarge):
    """As the reference program has it. New layers: for building a network, not for its calls. larger: up-samples."""
    return convolution(tf.keras.layers.Concatenate()([larger(size=2)(low), skipped]))


def transposed(low: tf.Tensor, skipped: tf.Tensor, convolution: tf.keras.layers.Conv2D) -> tf.Tensor:
    """With 16 products for each value of `low` where the other form has 36.

    Up-sampling and then convolving is a transposed convolution of stride 2 with a kernel of 4 x 4, whose rows and
    columns are sums of the 3 x 3 kernel's; convolving a concatenation is adding the convolutions of its parts. The
    result differs by the rounding of those sums. Unlike Keras' up-sampling it has a gradient that XLA knows and that is
    deterministic on GPUs.
    """
    dtype, channels = convolution.compute_dtype, low.shape[-1]
    for_low, for_skipped = convolution.kernel[:, :, :channels], convolution.kernel[:, :, channels:]
    # Summed in float32, the variables' type, whatever the network computes in.
    larger_kernel = tf.cast(tf.einsum("mi,ijcf,nj->mnfc", _ROWS, tf.convert_to_tensor(for_low), _ROWS), dtype)
    shape = tf.concat([tf.shape(skipped)[:3], [convolution.filters]], 0)
    from_low = tf.nn.conv2d_transpose(low, larger_kernel, shape, 2, "SAME")
    from_skipped = tf.nn.conv2d(skipped, tf.cast(for_skipped, dtype), 1, "SAME")
    return tf.nn.bias_add(from_low + from_skipped, tf.cast(convolution.bias, dtype))

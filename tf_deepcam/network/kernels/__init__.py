"""The network's operations in two forms of one function each: TensorFlow's own, and faster ones for CPUs.

Which of them a network computes by is a value, `Kernels`, that `deeplab` hands to its layers.
"""

from dataclasses import dataclass
from typing import Callable, Optional, Union

import tensorflow as tf

from common.distributed import devices
from tf_deepcam.network.kernels import onednn, plain


@dataclass(frozen=True)
class Kernels:
    """A form of the operations, equal to the others within rounding.

    Args:
        name: by which a layer's settings name it, in saved files too.
        convolution: of 3 x 3 and stride 1; (inputs [batch, height, width, channels], kernel [3, 3, channels, filters],
            dilation rate) to [batch, height, width, filters].
        halving_depthwise: of 3 x 3 and stride 2 on even heights and widths, with a pixel of zeros on every side;
            (inputs, kernel [3, 3, channels, 1]) to [batch, height / 2, width / 2, channels].
        deconvolution: transposed, of 3 x 3 and stride 2; (inputs, kernel [3, 3, filters, channels]) to
            [batch, 2 height, 2 width, filters].
        batch_norm: (inputs, parameters, *, epsilon, momentum, training) to (outputs, moving mean, moving variance);
            parameters are scale, offset, moving mean and moving variance, [channels] each. None instead where Keras'
            own layer computes them.
        pointwise: (Keras tensor, stride, **options of Conv2D) to a Keras tensor, by a 1 x 1 convolution.
    """

    name: str
    convolution: Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor]
    halving_depthwise: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    deconvolution: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    batch_norm: Callable[..., Optional[tuple]]
    pointwise: Callable[..., tf.Tensor]


PLAIN = Kernels(
    "plain", plain.convolution, plain.halving_depthwise, plain.deconvolution, plain.batch_norm, plain.pointwise
)
ONEDNN = Kernels(
    "onednn", onednn.convolution, onednn.halving_depthwise, onednn.deconvolution, onednn.batch_norm, onednn.pointwise
)
_BY_NAME = {kernels.name: kernels for kernels in (PLAIN, ONEDNN)}


def for_this_device() -> Kernels:
    """The fastest on what TensorFlow computes on here: the one place where the device decides."""
    return PLAIN if devices.on_gpu() else ONEDNN


def chosen(kernels: Union[Kernels, str, None]) -> Kernels:
    """The kernels of this name, or those given; without any, those for this device. Files of old name none."""
    if kernels is None:
        return for_this_device()
    return _BY_NAME[kernels] if isinstance(kernels, str) else kernels

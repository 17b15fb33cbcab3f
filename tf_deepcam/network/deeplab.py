"""DeepLabv3+ on a modified aligned Xception, as MLPerf HPC's DeepCAM trains it.

Entry flow (three blocks), 16 middle blocks, exit flow; atrous spatial pyramid pooling with four rates and the pooled
features; a decoder of transposed convolutions back to full resolution, which takes up the features of the entry
flow's first block. 16 input channels, 3 classes: 56,454,720 trainable parameters.

Sources: Chen et al., arXiv:1802.02611 (DeepLabv3+); Kurth et al., arXiv:1810.01993 (the decoder at full resolution);
MLPerf HPC's reference program in PyTorch. Three of its habits are part of the function and kept here:
- its ReLUs work in place, so a block that begins with one also sends the rectified values down its shortcut, and the
  decoder gets the first block's features rectified (tests/golden/);
- its 3 x 3 convolutions of stride 2 pad one pixel on every side, where Keras' "same" pads below and right only;
- its transposed convolutions (stride 2, padding 1, output padding 1) are TensorFlow's without their first row and
  column.
Layers carry the reference's parameter names, by which tf_deepcam.weights reads and writes its checkpoints.
"""

import tensorflow as tf

from common.distributed import devices
from tf_deepcam.network.convolutions import Convolution, Deconvolution, DepthwiseConv2D
from tf_deepcam.network.normalization import BatchNormalization, GroupBatchNormalization

_RATES = {16: (1, 6, 12, 18), 8: (1, 12, 24, 36)}  # of the pyramid, by output stride
_FIRST_MIDDLE_BLOCK = 4
_LOW_LEVEL = 48


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class Affine(tf.keras.layers.Layer):
    """Trainable scale and shift of each channel: stands for batch norm where there is one pixel to normalise."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="weights", shape=(input_shape[-1],), initializer="ones")
        self.shift = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs):
        return inputs * tf.cast(self.scale, inputs.dtype) + tf.cast(self.shift, inputs.dtype)


def kaiming_normal(fan_in: int) -> tf.keras.initializers.Initializer:
    """Where the reference program initialises itself: PyTorch's kaiming_normal_, a normal that is not truncated."""
    return tf.keras.initializers.RandomNormal(stddev=(2.0 / fan_in) ** 0.5)


def torch_uniform(fan_in: int) -> tf.keras.initializers.Initializer:
    """Where it does not: PyTorch's default for kernels and biases of convolutions."""
    bound = fan_in**-0.5
    return tf.keras.initializers.RandomUniform(-bound, bound)


class _Builder:
    """Layers under the reference's names, drawn as the reference draws them (tests/golden/deepcam_init.json).

    The features (Xception, and the pyramid's branches) are its own initialisation, all else is PyTorch's default. A
    depthwise kernel's fan in is the 9 values that one output is made of, a transposed one's 9 x its output channels.
    """

    def __init__(self, batchnorm_group_size: int):
        self._norm = GroupBatchNormalization if batchnorm_group_size > 1 else BatchNormalization

    def convolution(self, x, name: str, channels: int, size: int, stride: int = 1, rate: int = 1, draw=kaiming_normal):
        """A convolution without bias. draw: of the kernel, from its fan in."""
        kernel = draw(size * size * x.shape[-1])
        if stride > 1 and size == 1 and not devices.on_gpu():
            # The same function as a 1 x 1 convolution of that stride, whose gradient on a CPU (TensorFlow 2.15.1 with
            # oneDNN, batch 1, few channels) writes outside its memory: a test in tests/tf_deepcam/network/. Averages of
            # one pixel take a tenth of the time of x[:, ::stride, ::stride], both ways.
            x, stride = tf.keras.layers.AveragePooling2D(1, stride)(x), 1
        elif stride > 1 and size > 1:
            x = tf.keras.layers.ZeroPadding2D(1)(x)
        elif size == 3:
            return Convolution(channels, rate, kernel_initializer=kernel, name=name)(x)
        padding = "valid" if stride > 1 else "same"
        return tf.keras.layers.Conv2D(
            channels, size, stride, padding=padding, use_bias=False, kernel_initializer=kernel, name=name
        )(x)

    def biased(self, x, name: str, channels: int):
        """A 1 x 1 convolution with bias."""
        fan_in = x.shape[-1]
        return tf.keras.layers.Conv2D(
            channels,
            1,
            kernel_initializer=torch_uniform(fan_in),
            bias_initializer=torch_uniform(fan_in),
            name=name,
        )(x)

    def separable(self, x, name: str, channels: int, stride: int = 1, rate: int = 1):
        """A 3 x 3 convolution of each channel, then a 1 x 1 convolution over them."""
        x = DepthwiseConv2D(
            3,
            stride,
            padding="same",
            dilation_rate=rate,
            use_bias=False,
            depthwise_initializer=kaiming_normal(9),
            name=f"{name}.conv1",
        )(x)
        return self.convolution(x, f"{name}.pointwise", channels, 1)

    def deconvolution(self, x, name: str, channels: int, dtype=None):
        return Deconvolution(channels, kernel_initializer=torch_uniform(9 * channels), name=name, dtype=dtype)(x)

    def norm(self, x, name: str):
        return self._norm(momentum=0.9, epsilon=1e-5, name=f"{name}.bn")(x)  # PyTorch's momentum 0.1 is Keras' 0.9

    def relu(self, x):
        return tf.keras.layers.ReLU()(x)

    def block(self, x, name: str, channels: tuple, stride: int = 1, rate: int = 1, first_relu=True, last=False):
        """A residual block: a separable convolution and batch norm for each of `channels`.

        last: ends with one more separable convolution, of the block's stride, without batch norm.
        """
        shortcut = x = self.relu(x) if first_relu else x
        for number, width in enumerate(channels):
            if number:
                x = self.relu(x)
            # The reference numbers convolution, norm and ReLU alike.
            x = self.separable(x, f"{name}.rep.{3 * number}", width, rate=rate)
            x = self.norm(x, f"{name}.rep.{3 * number + 1}")
        if last:
            x = self.separable(x, f"{name}.rep.{3 * len(channels) - 1}", channels[-1], stride=stride)
        if stride > 1 or shortcut.shape[-1] != channels[-1]:
            shortcut = self.convolution(shortcut, f"{name}.skip", channels[-1], 1, stride)
            shortcut = self.norm(shortcut, f"{name}.skipbn")
        return tf.keras.layers.Add()([x, shortcut])


def _xception(build: _Builder, x, wide, output_stride: int, middle_blocks: int) -> tuple:
    """Features [h / output_stride, w / output_stride, 2048] and, from the first block, [h / 4, w / 4, 128]."""
    stride, middle_rate, exit_rates = (2, 1, (1, 2)) if output_stride == 16 else (1, 2, (2, 4))
    top = "xception_features"
    x = build.relu(build.norm(build.convolution(x, f"{top}.conv1", wide(32), 3, 2), f"{top}.bn1"))
    x = build.relu(build.norm(build.convolution(x, f"{top}.conv2", wide(64), 3), f"{top}.bn2"))
    first = build.block(x, f"{top}.block1", (wide(128),) * 2, 2, first_relu=False, last=True)
    x = build.block(first, f"{top}.block2", (wide(256),) * 2, 2, last=True)
    x = build.block(x, f"{top}.block3", (wide(728),) * 2, stride, last=True)
    for number in range(_FIRST_MIDDLE_BLOCK, _FIRST_MIDDLE_BLOCK + middle_blocks):
        x = build.block(x, f"{top}.block{number}", (wide(728),) * 3, rate=middle_rate)
    x = build.block(x, f"{top}.block20", (wide(728), wide(1024)), rate=exit_rates[0], last=True)
    for number, channels in ((3, 1536), (4, 1536), (5, 2048)):
        x = build.separable(x, f"{top}.conv{number}", wide(channels), rate=exit_rates[1])
        x = build.relu(build.norm(x, f"{top}.bn{number}"))
    return x, build.relu(first)


def _pyramid(build: _Builder, x, wide, output_stride: int):
    """Atrous spatial pyramid pooling, [h, w, 256]."""
    branches = []
    for number, rate in enumerate(_RATES[output_stride], 1):
        name = f"bottleneck.aspp{number}"
        size = 1 if rate == 1 else 3
        branch = build.convolution(x, f"{name}.atrous_convolution", wide(256), size, rate=rate)
        branches.append(build.relu(build.norm(branch, f"{name}.bn")))
    name = "bottleneck.global_avg_pool.global_average_pool"
    pooled = tf.keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # [1, 1, 2048]
    pooled = Affine(name=f"{name}.2")(build.convolution(pooled, f"{name}.1", wide(256), 1, draw=torch_uniform))
    branches.append(_Tile()([build.relu(pooled), branches[0]]))
    x = build.convolution(tf.keras.layers.Concatenate()(branches), "bottleneck.conv", wide(256), 1, draw=torch_uniform)
    return build.relu(build.norm(x, "bottleneck.bn"))


@tf.keras.utils.register_keras_serializable("tf_deepcam")
class _Tile(tf.keras.layers.Layer):
    """[pixel, like]: one pixel's features at every pixel of `like`."""

    def call(self, inputs):
        pixel, like = inputs
        shape = tf.shape(like)
        return tf.broadcast_to(pixel, [shape[0], shape[1], shape[2], pixel.shape[-1]])


def _decoder(build: _Builder, x, low_level, wide, classes: int, output_stride: int):
    """Back to full resolution: logits [4 h, 4 w, classes] float32 for low_level of [h, w]."""
    name = "upsample"
    for place in (0, 3) if output_stride == 16 else (0,):
        x = build.relu(
            build.norm(build.deconvolution(x, f"{name}.deconv1.{place}", wide(256)), f"{name}.deconv1.{place + 1}")
        )
    low_level = build.relu(build.norm(build.convolution(low_level, "conv2", _LOW_LEVEL, 1, draw=torch_uniform), "bn2"))
    x = tf.keras.layers.Concatenate()([x, low_level])
    for place in (0, 3):
        x = build.convolution(x, f"{name}.conv1.{place}", wide(256), 3, draw=torch_uniform)
        x = build.relu(build.norm(x, f"{name}.conv1.{place + 1}"))
    x = build.biased(x, f"{name}.conv1.6", wide(256))
    x = build.relu(build.norm(build.deconvolution(x, f"{name}.deconv2.0", wide(256)), f"{name}.deconv2.1"))
    return build.deconvolution(x, f"{name}.last_deconv.0", classes, dtype="float32")


def deeplab(
    channels: int = 16,
    classes: int = 3,
    *,
    output_stride: int = 16,
    width: float = 1.0,
    middle_blocks: int = 16,
    batchnorm_group_size: int = 1,
) -> tf.keras.Model:
    """[batch, height, width, channels] float32, normalised, to logits [batch, height, width, classes] float32.

    Height and width are multiples of 16. width: factor on all inner channel numbers (rounded to multiples of 8), for
    small machines; the benchmark's network is 1. middle_blocks: its number of equal blocks in the middle, 16 in the
    benchmark's; fewer are compiled sooner. batchnorm_group_size: above 1, batch statistics are those of this
    rank's group (common.distributed.init).
    """

    def wide(number: int) -> int:
        return max(8, round(number * width / 8) * 8)

    build = _Builder(batchnorm_group_size)
    inputs = tf.keras.layers.Input((None, None, channels))
    features, low_level = _xception(build, inputs, wide, output_stride, middle_blocks)
    features = _pyramid(build, features, wide, output_stride)
    return tf.keras.Model(inputs, _decoder(build, features, low_level, wide, classes, output_stride), name="deepcam")

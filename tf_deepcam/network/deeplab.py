"""DeepLabv3+ on a modified aligned Xception, as MLPerf HPC's DeepCAM trains it.

Entry flow (three blocks), 16 middle blocks, exit flow; atrous spatial pyramid pooling with four rates and the pooled
features; a decoder of transposed convolutions back to full resolution, which also takes the features of the entry
flow's first block. With 16 input channels and 3 classes it has 56,454,720 trainable parameters.

Sources: Chen et al., arXiv:1802.02611 (DeepLabv3+); Kurth et al., arXiv:1810.01993 (the decoder at full resolution);
MLPerf HPC's reference program in PyTorch. Three of its peculiarities change the result and are kept here:
- its ReLUs work in place, so a block that begins with one also sends the rectified values down its shortcut, and the
  decoder receives the first block's features rectified (tests/golden/);
- its 3 x 3 convolutions of stride 2 pad one pixel on every side, where Keras' "same" pads below and right only;
- its transposed convolutions (stride 2, padding 1, output padding 1) are TensorFlow's without their first row and
  column.
Layers carry the reference's parameter names, by which tf_deepcam.network.weights reads and writes its checkpoints.
"""

from typing import Optional

import tensorflow as tf

from tf_deepcam.network import kernels as forms
from tf_deepcam.network.builder import Builder, torch_uniform
from tf_deepcam.network.kernels import Kernels
from tf_deepcam.network.layers import Affine, Tile

_RATES = {16: (1, 6, 12, 18), 8: (1, 12, 24, 36)}  # of the pyramid, by output stride
_FEATURES = "xception_features"
_FIRST_MIDDLE_BLOCK = 4
_LOW_LEVEL = 48


def _block(build: Builder, x, name: str, channels: tuple, stride: int = 1, rate: int = 1, first_relu=True, last=False):
    """Add a residual block: a separable convolution and batch norm for each of `channels`.

    last: ends with one more separable convolution, of the block's stride, without batch norm.
    """
    name = f"{_FEATURES}.{name}"
    shortcut = x = build.relu(x) if first_relu else x
    for number, width in enumerate(channels):
        if number:
            x = build.relu(x)
        # The reference's numbers count convolutions, norms and ReLUs.
        x = build.separable(x, f"{name}.rep.{3 * number}", width, rate=rate)
        x = build.norm(x, f"{name}.rep.{3 * number + 1}")
    if last:
        x = build.separable(x, f"{name}.rep.{3 * len(channels) - 1}", channels[-1], stride=stride)
    if stride > 1 or shortcut.shape[-1] != channels[-1]:
        shortcut = build.pointwise(shortcut, f"{name}.skip", channels[-1], stride)
        shortcut = build.norm(shortcut, f"{name}.skipbn")
    return tf.keras.layers.Add()([x, shortcut])


def _entry_flow(build: Builder, x, last_stride: int) -> tuple:
    """Features [h / (8 last_stride), w / (8 last_stride), 728] and, of the first block, [h / 4, w / 4, 128]."""
    wide = build.wide
    x = build.normed_relu(build.halving_convolution(x, f"{_FEATURES}.conv1", wide(32)), f"{_FEATURES}.bn1")
    x = build.normed_relu(build.convolution(x, f"{_FEATURES}.conv2", wide(64)), f"{_FEATURES}.bn2")
    first = _block(build, x, "block1", (wide(128),) * 2, 2, first_relu=False, last=True)
    x = _block(build, first, "block2", (wide(256),) * 2, 2, last=True)
    return _block(build, x, "block3", (wide(728),) * 2, last_stride, last=True), first


def _middle_flow(build: Builder, x, rate: int, blocks: int):
    """Equal blocks, [h, w, 728]."""
    for number in range(_FIRST_MIDDLE_BLOCK, _FIRST_MIDDLE_BLOCK + blocks):
        x = _block(build, x, f"block{number}", (build.wide(728),) * 3, rate=rate)
    return x


def _exit_flow(build: Builder, x, block_rate: int, rate: int):
    """[h, w, 2048]: a block and three separable convolutions."""
    x = _block(build, x, "block20", (build.wide(728), build.wide(1024)), rate=block_rate, last=True)
    for number, channels in ((3, 1536), (4, 1536), (5, 2048)):
        x = build.separable(x, f"{_FEATURES}.conv{number}", build.wide(channels), rate=rate)
        x = build.normed_relu(x, f"{_FEATURES}.bn{number}")
    return x


def _xception(build: Builder, x, output_stride: int, middle_blocks: int) -> tuple:
    """Features [h / output_stride, w / output_stride, 2048] and, from the first block, [h / 4, w / 4, 128]."""
    last_stride, middle_rate, exit_rates = (2, 1, (1, 2)) if output_stride == 16 else (1, 2, (2, 4))
    x, first = _entry_flow(build, x, last_stride)
    x = _middle_flow(build, x, middle_rate, middle_blocks)
    return _exit_flow(build, x, *exit_rates), build.relu(first)


def _pyramid(build: Builder, x, output_stride: int):
    """Atrous spatial pyramid pooling, [h, w, 256]."""
    channels = build.wide(256)
    branches = []
    for number, rate in enumerate(_RATES[output_stride], 1):
        name = f"bottleneck.aspp{number}"
        convolution = f"{name}.atrous_convolution"
        if rate == 1:
            branch = build.pointwise(x, convolution, channels)
        else:
            branch = build.convolution(x, convolution, channels, rate)
        branches.append(build.normed_relu(branch, f"{name}.bn"))
    name = "bottleneck.global_avg_pool.global_average_pool"
    pooled = tf.keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # [1, 1, 2048]
    pooled = Affine(name=f"{name}.2")(build.pointwise(pooled, f"{name}.1", channels, draw=torch_uniform))
    branches.append(Tile()([build.relu(pooled), branches[0]]))
    x = build.pointwise(tf.keras.layers.Concatenate()(branches), "bottleneck.conv", channels, draw=torch_uniform)
    return build.normed_relu(x, "bottleneck.bn")


def _decoder(build: Builder, x, low_level, classes: int, output_stride: int):
    """The decoder back to full resolution: logits [4 h, 4 w, classes] float32 for low_level of [h, w]."""
    name, channels = "upsample", build.wide(256)
    for number in (0, 3) if output_stride == 16 else (0,):
        x = build.deconvolution(x, f"{name}.deconv1.{number}", channels)
        x = build.normed_relu(x, f"{name}.deconv1.{number + 1}")
    low_level = build.pointwise(low_level, "conv2", _LOW_LEVEL, draw=torch_uniform)
    x = tf.keras.layers.Concatenate()([x, build.normed_relu(low_level, "bn2")])
    for number in (0, 3):
        x = build.convolution(x, f"{name}.conv1.{number}", channels, draw=torch_uniform)
        x = build.normed_relu(x, f"{name}.conv1.{number + 1}")
    x = build.biased(x, f"{name}.conv1.6", channels)
    x = build.normed_relu(build.deconvolution(x, f"{name}.deconv2.0", channels), f"{name}.deconv2.1")
    return build.deconvolution(x, f"{name}.last_deconv.0", classes, dtype="float32")


def deeplab(
    channels: int = 16,
    classes: int = 3,
    *,
    output_stride: int = 16,
    width: float = 1.0,
    middle_blocks: int = 16,
    batchnorm_group_size: int = 1,
    kernels: Optional[Kernels] = None,
) -> tf.keras.Model:
    """Build DeepCAM's network.

    It takes normalised fields [batch, height, width, channels] float32, height and width multiples of 16, and returns
    logits [batch, height, width, classes] float32.

    Args:
        channels: number of channels of the samples.
        classes: number of classes.
        output_stride: how many times smaller the encoder's features are in height and width, 16 or 8.
        width: factor on all inner channel numbers (rounded to multiples of 8), for small machines; the benchmark's
            network has 1.
        middle_blocks: equal blocks in the middle; the benchmark's network has 16, fewer compile faster.
        batchnorm_group_size: above 1, batch statistics are those of this rank's group (common.distributed.init).
        kernels: the implementation that the layers use; by default the fastest on this device.
    """
    build = Builder(width, batchnorm_group_size, forms.chosen(kernels))
    inputs = tf.keras.layers.Input((None, None, channels))
    features, low_level = _xception(build, inputs, output_stride, middle_blocks)
    features = _pyramid(build, features, output_stride)
    return tf.keras.Model(inputs, _decoder(build, features, low_level, classes, output_stride), name="deepcam")

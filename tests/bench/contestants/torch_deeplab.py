"""The function of tf_deepcam.network.deeplab as a PyTorch module, at output stride 16.

Parameters have the names under which tf_deepcam.network.weights writes ours, so a state dict goes across. Every ReLU
works in place, which is part of the function: a block that begins with one sends the rectified values down its
shortcut, and the decoder gets the first block's features rectified.
"""

import torch
from torch import nn
from torch.nn import functional

ATROUS_RATES = (1, 6, 12, 18)
LOW_LEVEL = 48


def rectify(x: torch.Tensor) -> torch.Tensor:
    return functional.relu(x, inplace=True)


def pointwise(channels: int, filters: int, bias: bool = False, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, filters, 1, stride, bias=bias)


def upscaling(channels: int, filters: int) -> nn.ConvTranspose2d:
    """To twice the height and width."""
    return nn.ConvTranspose2d(channels, filters, 3, stride=2, padding=1, output_padding=1, bias=False)


class Norm(nn.Module):
    """Batch norm, its parameters one name deeper."""

    def __init__(self, channels: int):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn(x)


class Separable(nn.Module):
    """A 3 x 3 convolution of each channel, then a 1 x 1 one over them."""

    def __init__(self, channels: int, filters: int, stride: int = 1, rate: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, rate, rate, groups=channels, bias=False)
        self.pointwise = pointwise(channels, filters)

    def forward(self, x):
        return self.pointwise(self.conv1(x))


class Block(nn.Module):
    """A separable convolution and batch norm for each of `widths`, ReLUs between; with `last_stride` one more
    convolution, of that stride, at the end. Added to the input, which goes through a 1 x 1 convolution where the shape
    changes."""

    def __init__(self, channels: int, widths: tuple, *, last_stride: int = 0, rectified: bool = True):
        super().__init__()
        self.rectified = rectified
        layers: list = []
        before = channels
        for width in widths:
            layers += [Separable(before, width), Norm(width), nn.ReLU(inplace=True)]
            before = width
        layers.pop()
        if last_stride:
            layers.append(Separable(before, before, stride=last_stride))
        self.rep = nn.Sequential(*layers)
        self.skip = self.skipbn = None
        if last_stride > 1 or channels != before:
            self.skip = pointwise(channels, before, stride=max(last_stride, 1))
            self.skipbn = Norm(before)

    def forward(self, x):
        if self.rectified:
            x = rectify(x)
        shortcut = x if self.skip is None else self.skipbn(self.skip(x))
        return self.rep(x) + shortcut


class Xception(nn.Module):
    """Features at a sixteenth of the size, and the first block's at a quarter."""

    def __init__(self, channels: int, wide, middle_blocks: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, wide(32), 3, 2, 1, bias=False)
        self.bn1 = Norm(wide(32))
        self.conv2 = nn.Conv2d(wide(32), wide(64), 3, padding=1, bias=False)
        self.bn2 = Norm(wide(64))
        self.block1 = Block(wide(64), (wide(128),) * 2, last_stride=2, rectified=False)
        self.block2 = Block(wide(128), (wide(256),) * 2, last_stride=2)
        self.block3 = Block(wide(256), (wide(728),) * 2, last_stride=2)
        for number in range(4, 4 + middle_blocks):
            self.add_module(f"block{number}", Block(wide(728), (wide(728),) * 3))
        self.block20 = Block(wide(728), (wide(728), wide(1024)), last_stride=1)
        self.blocks = [f"block{number}" for number in (2, 3, *range(4, 4 + middle_blocks), 20)]
        before = wide(1024)
        for number, width in enumerate((1536, 1536, 2048), 3):
            self.add_module(f"conv{number}", Separable(before, wide(width), rate=2))
            self.add_module(f"bn{number}", Norm(wide(width)))
            before = wide(width)

    def forward(self, x):
        x = rectify(self.bn1(self.conv1(x)))
        x = rectify(self.bn2(self.conv2(x)))
        low_level = x = self.block1(x)
        for name in self.blocks:
            x = getattr(self, name)(x)
        for number in (3, 4, 5):
            x = rectify(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
        return x, low_level


class Affine(nn.Module):
    """A trainable scale and shift of each channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x):
        return x * self.weights + self.bias


class Branch(nn.Module):
    """One of the pyramid's convolutions, 1 x 1 at rate 1."""

    def __init__(self, channels: int, filters: int, rate: int):
        super().__init__()
        size, padding = (1, 0) if rate == 1 else (3, rate)
        self.atrous_convolution = nn.Conv2d(channels, filters, size, padding=padding, dilation=rate, bias=False)
        self.bn = Norm(filters)

    def forward(self, x):
        return rectify(self.bn(self.atrous_convolution(x)))


class Pooled(nn.Module):
    """The pyramid's mean over all pixels, one pixel."""

    def __init__(self, channels: int, filters: int):
        super().__init__()
        self.global_average_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), pointwise(channels, filters), Affine(filters), nn.ReLU(inplace=True)
        )

    def forward(self, x):
        return self.global_average_pool(x)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling."""

    def __init__(self, channels: int, filters: int):
        super().__init__()
        for number, rate in enumerate(ATROUS_RATES, 1):
            self.add_module(f"aspp{number}", Branch(channels, filters, rate))
        self.global_avg_pool = Pooled(channels, filters)
        self.conv = pointwise(5 * filters, filters)
        self.bn = Norm(filters)

    def forward(self, x):
        parts = [self.aspp1(x), self.aspp2(x), self.aspp3(x), self.aspp4(x)]
        parts.append(self.global_avg_pool(x).expand_as(parts[0]))
        return rectify(self.bn(self.conv(torch.cat(parts, 1))))


class Decoder(nn.Module):
    """Back to the input's height and width."""

    def __init__(self, filters: int, classes: int):
        super().__init__()

        def normed(layer):
            return [layer, Norm(filters), nn.ReLU(inplace=True)]

        def plain(channels):
            return nn.Conv2d(channels, filters, 3, padding=1, bias=False)

        self.deconv1 = nn.Sequential(*normed(upscaling(filters, filters)), *normed(upscaling(filters, filters)))
        self.conv1 = nn.Sequential(
            *normed(plain(filters + LOW_LEVEL)), *normed(plain(filters)), pointwise(filters, filters, bias=True)
        )
        self.deconv2 = nn.Sequential(*normed(upscaling(filters, filters)))
        self.last_deconv = nn.Sequential(upscaling(filters, classes))

    def forward(self, x, low_level):
        x = torch.cat([self.deconv1(x), low_level], 1)
        return self.last_deconv(self.deconv2(self.conv1(x)))


class DeepLab(nn.Module):
    """[batch, channels, height, width] to logits [batch, classes, height, width]; sizes as deeplab.deeplab's."""

    def __init__(self, channels: int = 16, classes: int = 3, *, width: float = 1.0, middle_blocks: int = 16):
        super().__init__()

        def wide(number: int) -> int:
            return max(8, round(number * width / 8) * 8)

        self.xception_features = Xception(channels, wide, middle_blocks)
        self.bottleneck = Pyramid(wide(2048), wide(256))
        self.conv2 = pointwise(wide(128), LOW_LEVEL)
        self.bn2 = Norm(LOW_LEVEL)
        self.upsample = Decoder(wide(256), classes)

    def forward(self, x):
        x, low_level = self.xception_features(x)
        low_level = rectify(self.bn2(self.conv2(low_level)))
        return self.upsample(self.bottleneck(x), low_level)

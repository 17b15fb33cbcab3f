"""The function of cloudmask.network.unet as a PyTorch module, but for the sigmoid at its end: logits.

Its convolutions are `convolutions[0]` to `[14]` in the order in which they are applied, and as Keras lists them.
"""

import torch
from torch import nn
from torch.nn import functional


def _pair(channels: int, filters: int) -> list:
    return [nn.Conv2d(channels, filters, 3, padding=1), nn.Conv2d(filters, filters, 3, padding=1)]


class UNet(nn.Module):
    """[batch, 9, height, width], both multiples of 8, to logits [batch, 1, height, width]."""

    def __init__(self, channels: int = 9):
        super().__init__()
        pairs = [(channels, 32), (32, 64), (64, 128), (128, 256), (256 + 128, 128), (128 + 64, 64), (64 + 32, 32)]
        layers = [layer for pair in pairs for layer in _pair(*pair)]
        self.convolutions = nn.ModuleList([*layers, nn.Conv2d(32, 1, 1)])

    def _level(self, number: int, x):
        for layer in self.convolutions[2 * number : 2 * number + 2]:
            x = functional.relu(layer(x), inplace=True)
        return x

    def forward(self, x):
        skipped = []
        for number in range(3):
            skipped.append(self._level(number, x))
            x = functional.max_pool2d(skipped[-1], 2)
        x = self._level(3, x)
        for number in range(4, 7):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self._level(number, torch.cat([x, skipped.pop()], 1))
        return self.convolutions[-1](x)

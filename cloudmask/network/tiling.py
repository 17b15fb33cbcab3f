"""Masking a scene: in one pass, in tiles that give the same result, or in the reference's overlapping tiles.

The reference program pads a scene with zeros, cuts it into tiles of 256 x 256 pixels, one every 176 pixels, and drops
40 pixels at each edge of a tile. The result of a U-Net depends on where its pooling cells (8 x 8 pixels) lie, so the
pass over a whole scene pads it by the few pixels that align its cells with the reference's. It differs from the
reference only in that no pixel lacks its surroundings.
"""

from dataclasses import dataclass, replace
from typing import Callable

import numpy as np

from cloudmask.config import DataSettings, InferenceSettings
from cloudmask.data.scenes import Padding
from cloudmask.network.networks import Network

Forward = Callable[[np.ndarray], object]  # [n, h, w, 9] to a tensor [n, h, w, 1]
_TILES_AT_ONCE = 16  # reference tiles in one forward pass; 63 at once need 3 GB more and are no faster


@dataclass(frozen=True)
class Axis:
    """The reference's tiles along one axis of a scene. length, tile, crop: pixels."""

    length: int
    tile: int
    crop: int
    factor: int  # edge of the network's pooling cells

    @property
    def stride(self) -> int:
        return self.tile - self.crop

    @property
    def tiles(self) -> int:
        return -(-self.length // self.stride)

    @property
    def padding(self) -> int:
        """Zeros added on both sides together, so that whole tiles cover the axis."""
        return max((self.tiles - 1) * self.stride + self.tile - self.length, 0)

    @property
    def before(self) -> int:
        """Zeros added before the first pixel, where the first tile begins."""
        return self.padding // 2

    @property
    def aligned(self) -> tuple[int, int]:
        """(before, after): the least padding to whole pooling cells that are aligned with the reference's."""
        before = self.before % self.factor
        return before, -(before + self.length) % self.factor


@dataclass(frozen=True)
class Tiling:
    """How scenes of one size are masked.

    Args:
        rows: the reference's tiles from top to bottom.
        columns: the reference's tiles from left to right.
        network: which network; its factor and receptive field are used.
        mode: inference.mode.
        tile: for the mode "tiles", the edge of the part that a tile yields.
    """

    rows: Axis
    columns: Axis
    network: Network
    mode: str
    tile: int

    @classmethod
    def of(cls, data: DataSettings, inference: InferenceSettings, network: Network) -> "Tiling":
        """The tiling of scenes of data.image_h x data.image_w pixels."""
        rows, columns = (
            Axis(length, data.patch_size, inference.crop_size, network.factor)
            for length in (data.image_h, data.image_w)
        )
        return cls(rows, columns, network, inference.mode, inference.tile_size)

    def fitting(self, shape: tuple[int, ...]) -> "Tiling":
        """The same tiling for a scene of another height and width."""
        rows, columns = replace(self.rows, length=shape[0]), replace(self.columns, length=shape[1])
        return replace(self, rows=rows, columns=columns)

    @property
    def padding(self) -> Padding:
        """The zeros that the mode needs around a scene."""
        rows, columns = self.rows, self.columns
        if self.mode == "reference":
            return Padding(rows.before, rows.padding - rows.before, columns.before, columns.padding - columns.before)
        return Padding(*rows.aligned, *columns.aligned)

    @property
    def padded_shape(self) -> tuple[int, int]:
        above, below, left, right = self.padding
        return self.rows.length + above + below, self.columns.length + left + right

    def mask(self, forward: Forward, image: np.ndarray) -> np.ndarray:
        """Compute the mask [height, width] float32 of a padded image [1, padded height, padded width, 9]."""
        if self.mode == "reference":
            return reference_mask(forward, image, self.rows, self.columns)
        if self.mode == "tiles":
            return tiled_mask(forward, image, self)
        return whole_mask(forward, image, self.rows, self.columns)


def whole_mask(forward: Forward, image: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Mask an image [1, padded height, padded width, 9] in one pass: [height, width] float32."""
    mask = np.asarray(forward(image))[0, :, :, 0]
    top, left = rows.aligned[0], columns.aligned[0]
    return mask[top : top + rows.length, left : left + columns.length]


def tiled_mask(forward: Forward, image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Mask an image [1, padded height, padded width, 9] tile by tile, with memory for one: [height, width] float32.

    The result is that of `whole_mask`: each tile includes the network's receptive field around the part that it yields,
    and starts on the pooling grid.
    """
    rows, columns, tile, reach = tiling.rows, tiling.columns, tiling.tile, tiling.network.receptive_field
    height, width = image.shape[1:3]
    mask = np.empty((height, width), np.float32)
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            top, left = max(y - reach, 0), max(x - reach, 0)
            bottom, right = min(y + tile, height), min(x + tile, width)
            seen = image[:, top : bottom + reach, left : right + reach]
            part = np.asarray(forward(np.ascontiguousarray(seen)))[0, :, :, 0]
            mask[y:bottom, x:right] = part[y - top : bottom - top, x - left : right - left]
    top, left = rows.aligned[0], columns.aligned[0]
    return mask[top : top + rows.length, left : left + columns.length]


def reference_mask(forward: Forward, image: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Mask an image [1, padded height, padded width, 9] in the reference's tiles: [height, width] float32."""
    size, crop, stride = rows.tile, rows.crop, rows.stride
    starts = [(i * stride, j * stride) for i in range(rows.tiles) for j in range(columns.tiles)]
    mosaic = np.empty((rows.tiles * stride, columns.tiles * stride), np.float32)
    for first in range(0, len(starts), _TILES_AT_ONCE):
        chosen = starts[first : first + _TILES_AT_ONCE]
        tiles = np.stack([image[0, y : y + size, x : x + size] for y, x in chosen])
        masks = np.asarray(forward(tiles))[:, crop // 2 : size - crop // 2, crop // 2 : size - crop // 2, 0]
        for (y, x), mask in zip(chosen, masks):
            mosaic[y : y + stride, x : x + stride] = mask
    top, left = (rows.padding - crop) // 2, (columns.padding - crop) // 2
    return mosaic[top : top + rows.length, left : left + columns.length]

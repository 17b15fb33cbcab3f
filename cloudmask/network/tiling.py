"""From a scene to its mask: in one pass, in tiles that give the same result, or in the reference's overlapping tiles.

The reference program cuts a scene into 256 x 256 tiles that start every 176 pixels, on a scene padded with zeros so
that they cover it evenly, and drops 40 pixels of each tile's edge. A U-Net's result depends on where its pooling
cells (8 x 8 pixels) lie, so the whole-scene pass pads the scene by the few pixels that put its cells where the
reference's are. It differs from the reference only in that no pixel lacks its surroundings.
"""

from dataclasses import dataclass
from typing import Callable

import numpy as np

from cloudmask.network.unet import FACTOR, RECEPTIVE_FIELD

Forward = Callable[[np.ndarray], object]  # [n, h, w, 9] to a tensor [n, h, w, 1]
_TILES_AT_ONCE = 16  # reference tiles in one forward pass; 63 at once need 3 GB more and are no faster


@dataclass(frozen=True)
class Axis:
    """The reference's tiles along one axis of a scene."""

    length: int
    tile: int
    crop: int

    @property
    def stride(self) -> int:
        return self.tile - self.crop

    @property
    def tiles(self) -> int:
        return -(-self.length // self.stride)

    @property
    def padding(self) -> int:
        """Zeros added in all, so that the tiles fit."""
        return max((self.tiles - 1) * self.stride + self.tile - self.length, 0)

    @property
    def before(self) -> int:
        """Zeros added before the first pixel: where the first tile begins."""
        return self.padding // 2

    @property
    def aligned(self) -> tuple:
        """(before, after): the least padding that gives whole pooling cells, lying where the reference's do."""
        before = self.before % FACTOR
        return before, -(before + self.length) % FACTOR


def axes(height: int, width: int, tile: int, crop: int) -> tuple:
    return Axis(height, tile, crop), Axis(width, tile, crop)


def padding(rows: Axis, columns: Axis, mode: str) -> tuple:
    """Zeros that `mode` needs around a scene: (above, below, left, right)."""
    if mode == "reference":
        return rows.before, rows.padding - rows.before, columns.before, columns.padding - columns.before
    return (*rows.aligned, *columns.aligned)


def whole_mask(forward: Forward, image: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """image: [1, padded height, padded width, 9]. Returns the mask [height, width] float32."""
    mask = np.asarray(forward(image))[0, :, :, 0]
    top, left = rows.aligned[0], columns.aligned[0]
    return mask[top : top + rows.length, left : left + columns.length]


def tiled_mask(forward: Forward, image: np.ndarray, rows: Axis, columns: Axis, tile: int) -> np.ndarray:
    """The same result tile by tile: each tile sees RECEPTIVE_FIELD pixels around the part that it answers for, and
    starts on the pooling grid. Takes memory for one tile instead of one scene."""
    height, width = image.shape[1:3]
    mask = np.empty((height, width), np.float32)
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            top, left = max(y - RECEPTIVE_FIELD, 0), max(x - RECEPTIVE_FIELD, 0)
            bottom, right = min(y + tile, height), min(x + tile, width)
            seen = image[:, top : bottom + RECEPTIVE_FIELD, left : right + RECEPTIVE_FIELD]
            part = np.asarray(forward(np.ascontiguousarray(seen)))[0, :, :, 0]
            mask[y:bottom, x:right] = part[y - top : bottom - top, x - left : right - left]
    top, left = rows.aligned[0], columns.aligned[0]
    return mask[top : top + rows.length, left : left + columns.length]


def reference_mask(forward: Forward, image: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """As the reference program tiles. image: [1, padded height, padded width, 9] with its padding."""
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


def mask_scene(forward: Forward, image: np.ndarray, rows: Axis, columns: Axis, mode: str, tile: int) -> np.ndarray:
    """The mask [height, width] float32 of an image that was padded with `padding`."""
    if mode == "reference":
        return reference_mask(forward, image, rows, columns)
    if mode == "tiles":
        return tiled_mask(forward, image, rows, columns, tile)
    return whole_mask(forward, image, rows, columns)

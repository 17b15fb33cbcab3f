"""Where in a scene the training patches lie, and which scenes have them."""

from typing import NamedTuple

from cloudmask.config import DataSettings
from cloudmask.data.reader import SceneReader
from common.errors import UserError

# Granules of three minutes have 1198 to 1201 rows of 1 km; those that are converted as they are keep them.
_ROWS_OFF = 3


class Grid(NamedTuple):
    """Patches down and across a scene, and its first row and column that is in one."""

    down: int
    across: int
    top: int
    left: int


def patch_grid(settings: DataSettings) -> Grid:
    """As many whole patches as fit, from the middle of the scene."""
    size = settings.patch_size
    down, across = settings.image_h // size, settings.image_w // size
    return Grid(down, across, settings.image_h % size // 2, settings.image_w % size // 2)


def check_fits(scene: SceneReader, settings: DataSettings, path: str) -> None:
    """Raises UserError for a scene of another size than the settings'."""
    scene.check_size(_ROWS_OFF)
    grid = patch_grid(settings)
    if grid.top + (scene.height - settings.image_h) // 2 < 0:
        raise UserError(
            f"{path}: {scene.height} rows are too few for {grid.down} patches of {settings.patch_size} rows"
        )

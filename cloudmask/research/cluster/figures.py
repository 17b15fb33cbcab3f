"""A picture of a scene and of its masks, some of which needed no labels."""

import os
from typing import Optional, Union

import numpy as np
from matplotlib.figure import Figure

from cloudmask.pictures import panels
from common import figures

_WIDTH, _TALL = 3.4, 0.4  # inches of a panel, and of title and legend


def draw(
    image: np.ndarray, masks: dict[str, np.ndarray], truth: Optional[np.ndarray], target: Union[str, os.PathLike]
) -> Figure:
    """Draw the scene and each mask, the truth last where it is known.

    Args:
        image: [H, W, 9] normalised.
        masks: by name, [H, W] bool.
        truth: [H, W] bool.
        target: the PNG to write.

    Returns:
        The figure. The legend stands in the last panel if that is free, otherwise below.
    """
    measured = (image != 0).any(-1)
    clouds = {**masks, **({"truth": truth} if truth is not None else {})}
    count = 1 + len(clouds)
    columns = count if count < 4 else min((3, 4, 5), key=lambda columns: -count % columns)  # with few corners blank
    rows = -(-count // columns)
    height, width = measured.shape
    size = columns * _WIDTH, rows * (_WIDTH * min(height / width, 2.0) + 0.4) + _TALL
    with figures.picture(target, size, rows, columns) as (figure, axes):
        places = list(axes.ravel())
        colours, words = panels.composite(image, measured)
        panels.show(places.pop(0), colours, measured, f"scene: {words}")
        for name, cloud in clouds.items():
            against = "" if truth is None or name == "truth" else f": {np.mean((cloud == truth)[measured]):.1%} right"
            title = f"{name}: {cloud[measured].mean():.0%} cloud" if name == "truth" else f"{name}{against}"
            panels.show_classes(places.pop(0), cloud, (panels.CLEAR, panels.CLOUD), measured, title)
        legend = [figures.patch(panels.CLOUD, "cloud"), figures.patch(panels.CLEAR, "clear"), figures.unknown_patch()]
        for place in places:
            place.set_axis_off()
        if places:
            places[0].legend(handles=legend, loc="center left")
        else:
            figure.legend(handles=legend, loc="outside lower left", ncols=3)
    return figure

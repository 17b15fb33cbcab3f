"""The picture of a masked scene: false colours, the network's mask, the labels, and where the two differ."""

import os
from pathlib import Path
from typing import Union

from matplotlib.figure import Figure

from cloudmask.config import Config
from cloudmask.pictures import panels
from cloudmask.pictures.panels import View
from common import figures

_WIDTH, _TALL = 4.0, 0.9  # inches of a panel, and of titles, scale and legend


def draw(scene_path: str, mask_path: Path, target: Union[str, os.PathLike], config: Config) -> Figure:
    """Draw a scene with its mask, labels and errors.

    Without labels there are only the scene and the mask. Where the truth is known and differs from the labels, the
    labels' own errors are drawn too.

    Args:
        scene_path: the scene's file or product.
        mask_path: its mask (cloudmask.masks).
        target: the PNG to write.
        config: the settings.

    Returns:
        The figure.

    Raises:
        UserError: if a file cannot be read or written.
    """
    view = View.read(scene_path, mask_path, config)
    erring = view.labels is not None and view.truth is not None and (view.labels != view.truth)[view.counted].any()
    rows, columns = (1, 2) if view.labels is None else (2, 3) if erring else (2, 2)
    height, width = view.counted.shape
    size = columns * _WIDTH, rows * (_WIDTH * min(height / width, 2.0) + 0.4) + _TALL
    with figures.picture(target, size, rows, columns) as (figure, axes):
        places = axes.ravel()
        panels.show_scene(places[0], view, f"scene: {view.colours}")
        panels.show_probability(places[1], view)
        if view.labels is not None:
            panels.show_clouds(places[2], view, view.labels, "labels")
            panels.show_errors(places[3], view, view.predicted, view.labels, "network against labels")
        if erring and view.labels is not None and view.truth is not None:
            panels.show_errors(places[4], view, view.labels, view.truth, "labels against truth")
            panels.show_errors(places[5], view, view.predicted, view.truth, "network against truth")
        panels.finish(figure, panels.legend(labelled=view.labels is not None), Path(scene_path).name)
    return figure

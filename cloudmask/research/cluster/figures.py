"""A picture of a scene and of its masks, some of which needed no labels."""

from pathlib import Path
from typing import Optional

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
import numpy as np

from cloudmask.pictures import composite
from common.runs.files import save_figure


def draw(image: np.ndarray, masks: dict[str, np.ndarray], truth: Optional[np.ndarray], target: Path) -> None:
    """Draw the scene and each mask, the truth last where it is known.

    Args:
        image: [H, W, 9] normalised.
        masks: by name, [H, W] bool.
        truth: [H, W] bool.
        target: the PNG to write.
    """
    measured = (image != 0).any(-1)
    panels = {**masks, **({"truth": truth} if truth is not None else {})}
    columns = (len(panels) + 2) // 2
    figure, axes = plt.subplots(2, columns, figsize=(3.6 * columns, 6.4), layout="constrained")
    rgb, _ = composite(image, measured)
    axes[0][0].imshow(rgb, interpolation="antialiased")
    axes[0][0].set_title("scene")
    for axis, (name, mask) in zip(axes.flat[1:], panels.items()):
        axis.imshow(np.ma.masked_where(~measured, mask), cmap="Blues_r", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(name)
    for axis in axes.flat:
        axis.set_facecolor("black")
        axis.set_xticks([])
        axis.set_yticks([])
    for axis in axes.flat[1 + len(panels) :]:
        axis.set_visible(False)
    save_figure(figure, target, 80)
    plt.close(figure)

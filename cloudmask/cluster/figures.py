"""A picture of a scene's clusters and of the masks that needed no labels."""

from pathlib import Path
from typing import Optional

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
import numpy as np

from cloudmask.cluster.kmeans import Clusters
from cloudmask.pictures import composite


def draw(
    image: np.ndarray, clusters: Clusters, masks: dict[str, np.ndarray], truth: Optional[np.ndarray], target: Path
) -> None:
    """Scene, clusters, and each mask, the truth last where it is known. image: [H, W, 9] normalised."""
    measured = (image != 0).any(-1)
    panels = {**masks, **({"truth": truth} if truth is not None else {})}
    columns = (len(panels) + 3) // 2
    figure, axes = plt.subplots(2, columns, figsize=(3.6 * columns, 6.4), layout="constrained")
    rgb, _ = composite(image, measured)
    axes[0][0].imshow(rgb, interpolation="antialiased")
    axes[0][0].set_title("scene")
    number = np.ma.masked_where(~measured, clusters.of(image))
    axes[0][1].imshow(number, cmap="nipy_spectral", interpolation="nearest")
    axes[0][1].set_title(f"{len(clusters.cloud)} clusters")
    for axis, (name, mask) in zip(axes.flat[2:], panels.items()):
        axis.imshow(np.ma.masked_where(~measured, mask), cmap="Blues_r", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(name)
    for axis in axes.flat:
        axis.set_facecolor("black")
        axis.set_xticks([])
        axis.set_yticks([])
    for axis in axes.flat[2 + len(panels) :]:
        axis.set_visible(False)
    figure.savefig(target, dpi=80)
    plt.close(figure)

"""Pictures of validation samples: field, labels and prediction."""

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
import tensorflow as tf
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from common.data.batches import Batches
from common.runs.files import save_figure
from common.runs.folder import Run
from tf_deepcam.config import Config
from tf_deepcam.data.samples import CLASSES
from tf_deepcam.scores import intersection_over_union

_CLASSES = (("background", "#ffffff"), ("tropical cyclone", "#e41a1c"), ("atmospheric river", "#377eb8"))


def draw_samples(network: tf.keras.Model, batches: Batches, config: Config, run: Run) -> None:
    """Draw config.pictures samples as PNGs in the run's pictures/: those with most events of this rank's first ones."""
    candidates = range(min(batches.steps_per_epoch, -(-8 * config.pictures // batches.batch_size)))
    events = [
        (np.count_nonzero(labels) + 20 * np.count_nonzero(labels == 1), number, row)
        for number in candidates
        for row, labels in enumerate(batches.load(number)[1])
    ]
    chosen = sorted(events, reverse=True)[: config.pictures]
    for index, (_, number, row) in enumerate(chosen):
        fields, labels = (array[row : row + 1] for array in batches.load(number))
        predicted = tf.argmax(network(fields, training=False), -1).numpy()
        score = float(intersection_over_union(predicted, labels, CLASSES)[0])
        draw(fields[0], labels[0], predicted[0], score, config, run / "pictures" / f"sample-{index:02d}.png")


def draw(fields: np.ndarray, truth: np.ndarray, predicted: np.ndarray, score: float, config: Config, target) -> None:
    """Draw one sample beside its labels and prediction, south at the bottom.

    Args:
        fields: [height, width, channels], normalised.
        truth: the true class, [height, width].
        predicted: the predicted class, [height, width].
        score: its IoU.
        config: names the channels in use.
        target: the PNG file.
    """
    channel = 0 if 0 in config.data.channels else config.data.channels[0]
    moisture = fields[..., config.data.channels.index(channel)]
    title = "integrated water vapour (TMQ)" if channel == 0 else f"channel {channel}"
    figure, axes = plt.subplots(1, 3, figsize=(15, 3.9), layout="constrained")
    colours = ListedColormap([colour for _, colour in _CLASSES])
    for axis, marks, name in zip(axes, (None, truth, predicted), (title, "labels", f"prediction: IoU {score:.3f}")):
        axis.imshow(moisture, cmap="Greys" if marks is not None else "YlGnBu", origin="lower")
        if marks is not None:
            events = np.ma.masked_equal(marks, 0)
            axis.imshow(events, cmap=colours, vmin=0, vmax=2, origin="lower", interpolation="nearest", alpha=0.75)
        axis.set_title(name)
        axis.set_xticks([])
        axis.set_yticks([])
    handles = [Patch(facecolor=colour, label=name) for name, colour in _CLASSES[1:]]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, target, 80)
    plt.close(figure)

"""Pictures of validation samples: a field in its unit, labels, prediction, and where the two differ."""

import os
from typing import Any, Union

import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from common import figures
from common.data.batches import Batches
from common.runs.folder import Run
from tf_deepcam.config import Config
from tf_deepcam.data.channels import CAM5
from tf_deepcam.data.samples import CLASSES, find_stats, read_normalisation
from tf_deepcam.scores import intersection_over_union

_NOTHING, _FOUND = "#f4f4f4", "#a0a0a0"
_CLASSES = {"background": _NOTHING, "tropical cyclone": figures.VERMILION, "atmospheric river": figures.BLUE}
_ERRORS = {
    "background": _NOTHING,
    "found": _FOUND,
    "missed": figures.ORANGE,
    "false": figures.SKY,
    "of the wrong kind": "#000000",
}
_GLOBE = (768, 1152)  # rows of CAM5's 0.25 degree grid from pole to pole, columns around


def draw_samples(network: tf.keras.Model, batches: Batches, config: Config, run: Run) -> None:
    """Draw config.pictures samples as PNGs in the run's pictures/: those with most events of this rank's first ones."""
    if not config.pictures:
        return
    channel = 0 if 0 in config.data.channels else config.data.channels[0]
    normalisation = read_normalisation(find_stats(config.data.data_dir_prefix), (channel,))
    candidates = range(min(batches.steps_per_epoch, -(-8 * config.pictures // batches.batch_size)))
    events = [
        (np.count_nonzero(labels) + 20 * np.count_nonzero(labels == 1), number, row)
        for number in candidates
        for row, labels in enumerate(batches.load(number)[1])
    ]
    for index, (_, number, row) in enumerate(sorted(events, reverse=True)[: config.pictures]):
        fields, labels = (array[row : row + 1] for array in batches.load(number))
        predicted = tf.argmax(network(fields, training=False), -1).numpy()
        field = fields[0, ..., config.data.channels.index(channel)]
        physical = field / normalisation.scale[0] + normalisation.shift[0]
        draw(physical, channel, labels[0], predicted[0], run / "pictures" / f"sample-{index:02d}.png")


def draw(
    field: np.ndarray, channel: int, truth: np.ndarray, predicted: np.ndarray, target: Union[str, os.PathLike]
) -> Figure:
    """Draw one sample, south at the bottom.

    Args:
        field: [height, width], in its unit.
        channel: its number, of CAM5.
        truth: the true class, [height, width].
        predicted: the predicted class, [height, width].
        target: the PNG file.

    Returns:
        The figure, of four panels.

    Raises:
        UserError: if the file cannot be written.
    """
    extent, unit = _extent(field.shape), CAM5[channel].unit.replace("m2", "m²")
    left, right, low, high = extent
    size = 11.0, 2 * (4.8 * min((high - low) / (right - left), 2.0) + 0.5) + 0.5
    with figures.picture(target, size, 2, 2, sharex=True, sharey=True) as (figure, axes):
        (above, labels), (prediction, error) = axes
        image = above.imshow(field, cmap="YlGnBu" if channel == 0 else "cividis", origin="lower", extent=extent)
        above.set_title(CAM5[channel].title)
        figure.colorbar(image, cax=above.inset_axes((1.02, 0.0, 0.025, 1.0)), label=unit)
        _show(labels, truth, _CLASSES, "labels")
        _show(prediction, predicted, _CLASSES, f"prediction: {_scores(predicted, truth)}")
        wrong = np.mean(predicted != truth)
        _show(error, errors(predicted, truth), _ERRORS, f"prediction against labels: {wrong:.2%} of pixels differ")
        _number(axes, field.shape)
        classes = {**_CLASSES, **_ERRORS}
        handles = [figures.patch(colour, name) for name, colour in classes.items()]
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    return figure


def errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Number each pixel by _ERRORS: 0 background, 1 found, 2 missed, 3 false, 4 of the wrong kind."""
    event, marked = truth > 0, predicted > 0
    kinds = [event & (predicted == truth), event & ~marked, ~event & marked, event & marked]
    return np.select(kinds, [1, 2, 3, 4], 0)


def _show(axis: Axes, classes: np.ndarray, colours: dict[str, str], title: str) -> None:
    table = np.array([to_rgb(colour) for colour in colours.values()], np.float32)
    axis.imshow(table[classes], origin="lower", extent=_extent(classes.shape))
    axis.set_title(title)


def _scores(predicted: np.ndarray, truth: np.ndarray) -> str:
    """The score, which is the mean over three classes, and that of each event."""
    mean = float(intersection_over_union(predicted[np.newaxis], truth[np.newaxis], CLASSES)[0])
    parts = []
    for number, name in enumerate(("cyclones", "rivers"), 1):
        either = np.count_nonzero((predicted == number) | (truth == number))
        both = np.count_nonzero((predicted == number) & (truth == number))
        parts.append(f"{name} {both / either:.2f}" if either else f"no {name}")
    return f"IoU {mean:.3f} ({', '.join(parts)})"


def _extent(shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Left, right, lower and upper edge: degrees of the whole globe, or pixels of a piece of it."""
    if shape != _GLOBE:
        return -0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5
    across, up = 180.0 / shape[1], 90.0 / (shape[0] - 1)  # half a cell: the outer rows are centred on the poles
    return -across, 360.0 - across, -90.0 - up, 90.0 + up


def _number(axes: Any, shape: tuple[int, ...]) -> None:
    """Label the panels, which share their axes; only a whole globe's latitude is known."""
    if shape == _GLOBE:
        axes[0, 0].set_yticks(range(-60, 61, 30), ["60° S", "30° S", "0°", "30° N", "60° N"])
        axes[0, 0].set_xticks(range(0, 360, 60), ["0°", "60° E", "120° E", "180°", "120° W", "60° W"])
    for axis in axes[:, 0]:
        axis.set_ylabel("latitude" if shape == _GLOBE else "grid rows from the south")
    for axis in axes[-1]:
        axis.set_xlabel("longitude" if shape == _GLOBE else "grid columns")

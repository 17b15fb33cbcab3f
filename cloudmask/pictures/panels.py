"""What pictures of scenes are put together from: a masked scene as arrays, and panels that show one thing each."""

from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Patch

from cloudmask.config import Config
from cloudmask.data import ancillary
from cloudmask.data.normalize import kelvin_of, reflectance_of
from cloudmask.data.scenes import read_scene
from cloudmask.masks import stored_probability
from cloudmask.pictures import graticule
from common import figures

CLEAR, CLOUD, RIGHT = "#08306b", "#f7fbff", "#e9e9e9"  # the first two are the ends of _PROBABILITY
_PROBABILITY = "Blues_r"
_WHITE_KELVIN, _BLACK_KELVIN = 220, 300
_DARK = 0.02  # reflectance of the night's noise
_SOME = 0.02  # of a scene: less is not worth a word
NETWORK_ONLY, LABELS_ONLY = figures.BLUE, figures.VERMILION  # cloud to one of them


class View(NamedTuple):
    """A masked scene. All arrays are [H, W].

    Attributes:
        scene: [H, W, 3], in false colours from 0 to 1.
        colours: what these are, in words.
        measured: bool, where there is a scene.
        counted: bool, the pixels that are scored (data.missing).
        probability: float32 of cloud, NaN where the mask has none.
        predicted: bool, cloud by the threshold.
        labels: bool, None without labels.
        truth: bool, None where it is not known.
        latitude: int32, microdegrees (cloudmask.sen3.coordinates), None where they are not known; likewise longitude.
    """

    scene: np.ndarray
    colours: str
    measured: np.ndarray
    counted: np.ndarray
    probability: np.ndarray
    predicted: np.ndarray
    labels: Optional[np.ndarray]
    truth: Optional[np.ndarray]
    latitude: Optional[np.ndarray]
    longitude: Optional[np.ndarray]

    @classmethod
    def read(cls, scene_path: str, mask_path: Path, config: Config) -> "View":
        """Read a scene and its mask. Raises UserError if one cannot be read."""
        scene, probability = read_scene(scene_path, config.data), stored_probability(mask_path)
        beside = ancillary.read(scene_path, probability.shape)
        with np.errstate(invalid="ignore"):
            predicted = probability > config.inference.threshold
        labels = None if scene.cloud is None else scene.cloud > 0
        colours, words = composite(scene.image[0], scene.measured)
        counted = scene.counted(config.data) > 0
        known = predicted, labels, beside.truth, beside.latitude, beside.longitude
        return cls(colours, words, scene.measured > 0, counted, probability, *known)

    def part(self, rows: slice, columns: slice) -> "View":
        """Cut out a rectangle."""
        parts: Any = (each if each is None or isinstance(each, str) else each[rows, columns] for each in self)
        return View(*parts)


def composite(image: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, str]:
    """Compose a false-colour picture, in which what lies in the night is grey by its temperature.

    Args:
        image: [H, W, 9], normalised.
        weight: [H, W], 0 where nothing was measured.

    Returns:
        The picture, [H, W, 3] from 0 to 1, and what its colours are.
    """
    # Under the sun air alone scatters more in S1; what was not measured is 0 after normalisation.
    measured = weight > 0
    lit = measured & (image[..., 0] != 0) & (reflectance_of(image[..., 0]) > _DARK)
    colours = np.where(lit[..., np.newaxis], false_colours(image), thermal(image))
    share = lit.sum() / max(measured.sum(), 1)
    by_night = f"S8, {_WHITE_KELVIN} K white, {_BLACK_KELVIN} K black"
    if share < _SOME:
        return colours, by_night
    return colours, "S5, S3, S2 as red, green, blue" + ("" if share > 1 - _SOME else "; by night S8")


def false_colours(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] from 0 to 1 of [H, W, 9], normalised: snow and ice clouds turn cyan, low clouds white, vegetation
    green, desert brown."""
    rgb: np.ndarray = np.clip((image[..., [4, 2, 1]] + 0.5) / 0.8, 0, 1) ** 0.7
    return rgb


def thermal(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] from 0 to 1 of [H, W, 9], normalised: grey by S8, cold is bright."""
    grey = np.clip((_BLACK_KELVIN - kelvin_of(image[..., 7])) / (_BLACK_KELVIN - _WHITE_KELVIN), 0, 1)
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def show(axis: Axes, colours: np.ndarray, where: np.ndarray, title: str) -> None:
    """Fill a panel with colours, [H, W, 3], `where` [H, W] bool there are any, and with no data's pattern elsewhere."""
    figures.unknown(axis)
    figures.bare(axis)
    axis.imshow(np.dstack([colours, where]).astype(np.float32))
    axis.set_title(title)


def show_scene(axis: Axes, view: View, title: str) -> None:
    """Draw the scene itself, with its graticule where that is known.

    No outline of clouds is drawn over it: it would hide their edges, where errors are.
    """
    show(axis, view.scene, view.measured, title)
    if view.latitude is not None and view.longitude is not None:
        graticule.draw(axis, view.latitude, view.longitude)


def show_probability(axis: Axes, view: View) -> None:
    """Draw the network's answer, with its scale below."""
    figures.unknown(axis)
    figures.bare(axis)
    image = axis.imshow(np.ma.masked_invalid(view.probability), cmap=_PROBABILITY, vmin=0, vmax=1)
    axis.set_title("network: probability of cloud")
    figure: Any = axis.figure
    figure.colorbar(image, cax=axis.inset_axes((0.0, -0.06, 1.0, 0.03)), orientation="horizontal")


def show_clouds(axis: Axes, view: View, cloud: np.ndarray, name: str) -> None:
    """Draw labels or truth, [H, W] bool, and say how much of the scene is cloud."""
    share = f"{cloud[view.counted].mean():.0%} cloud" if view.counted.any() else "no data"
    show_classes(axis, cloud, (CLEAR, CLOUD), view.counted, f"{name}: {share}")


def show_classes(axis: Axes, classes: np.ndarray, colours: tuple[str, ...], where: np.ndarray, title: str) -> None:
    """Draw classes, [H, W] from 0, each in its colour."""
    table = np.array([to_rgba(colour)[:3] for colour in colours], np.float32)
    show(axis, table[np.where(where, classes, 0).astype(int)], where, title)


def show_errors(axis: Axes, view: View, cloud: np.ndarray, judge: np.ndarray, title: str) -> None:
    """Draw where `cloud` misses clouds of the judge and where it adds some, both [H, W] bool."""
    errors = np.select([~cloud & judge, cloud & ~judge], [1, 2], 0)
    right = f"{np.mean(errors[view.counted] == 0):.2%} of pixels right" if view.counted.any() else "no data"
    show_classes(axis, errors, (RIGHT, figures.VERMILION, figures.BLUE), view.counted, f"{title}: {right}")


def legend(*, labelled: bool) -> list[Patch]:
    """Make the legend of the panels above; a scene without labels has no classes."""
    classes = {"cloud": CLOUD, "clear": CLEAR, "right": RIGHT}
    classes |= {"missed cloud": figures.VERMILION, "false cloud": figures.BLUE}
    return [
        *(figures.patch(colour, name) for name, colour in classes.items() if labelled),
        figures.unknown_patch(),
    ]


def finish(figure: Any, handles: list[Patch], title: str) -> None:
    """Set the legend below the panels, and the title above them."""
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    figure.suptitle(title, x=0.005, ha="left", fontsize=9)

"""Pictures of scenes: false colours, the network's mask, the labels, and where the two differ."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from cloudmask.config import Config
from cloudmask.data import ancillary
from cloudmask.data.scenes import read_scene
from cloudmask.masks import netcdf_name, reference_name, stored_probability
from cloudmask.report.disagreement import PICTURE as DISAGREEMENT
from common.data.files import DataFile
from common.runs.folder import Run

_ERRORS = (("right", "#f2f2f2"), ("missed cloud", "#c1272d"), ("false cloud", "#0071bc"), ("no data", "#000000"))


def draw_scenes(scenes: list, run: Run, config: Config, done: set) -> None:
    """Draw the first inference.pictures scenes of those named in `done`, as PNG files in the run's pictures/."""
    chosen = [scene for scene in scenes if scene.name in done][: config.inference.pictures]
    for scene in chosen:
        _draw(scene, run, config, f"{Path(scene.name).stem}.png")


def draw_disagreements(scenes: list, run: Run, config: Config) -> None:
    """Draw the scenes in which network and labels differ most, numbered in the order given."""
    for number, scene in enumerate(scenes, 1):
        _draw(scene, run, config, f"{DISAGREEMENT}-{number}.png")


def _draw(scene: DataFile, run: Run, config: Config, name: str) -> None:
    (run / "pictures").mkdir(exist_ok=True)
    names = reference_name(scene.path), netcdf_name(scene.path)
    mask = next(path for path in (run / "masks" / name for name in names) if path.is_file())
    draw(scene.path, mask, run / "pictures" / name, config)


def draw(scene_path: str, mask_path: Path, target: Path, config: Config) -> None:
    """Draw a scene with its mask, labels and errors side by side.

    Without labels there are only the scene and the mask; where the truth is known and differs from the labels, the
    labels' own errors are drawn too. Nothing is drawn over the scene: an outline would hide the edges of clouds, which
    is where the errors are.

    Args:
        scene_path: the scene's file or product.
        mask_path: its mask (cloudmask.masks).
        target: the PNG to write.
        config: the settings.
    """
    scene = read_scene(scene_path, config.data)
    image, weight, cloud = scene.image, scene.counted(config.data), scene.cloud
    mask = stored_probability(mask_path)
    truth = ancillary.read(scene_path, mask.shape).truth if cloud is not None else None
    erring = cloud is not None and truth is not None and bool(((cloud > 0) != truth)[weight > 0].any())
    panels = 2 if cloud is None else 5 if erring else 4
    figure, axes = plt.subplots(1, panels, figsize=(4.6 * panels, 4.4), layout="constrained")
    rgb, title = composite(image[0], scene.measured)
    axes[0].imshow(rgb, interpolation="antialiased")
    axes[0].set_title(title)
    shown = axes[1].imshow(np.ma.masked_invalid(mask), cmap="Blues_r", vmin=0, vmax=1, interpolation="antialiased")
    axes[1].set_title("network: probability of cloud")
    figure.colorbar(shown, ax=axes[1], shrink=0.7)
    if cloud is not None:
        threshold = config.inference.threshold
        with np.errstate(invalid="ignore"):
            predicted = mask > threshold
        axes[2].imshow(np.ma.masked_where(weight == 0, cloud), cmap="Blues_r", vmin=0, vmax=1, interpolation="nearest")
        axes[2].set_title(f"labels: {cloud[weight > 0].mean():.0%} cloud" if weight.any() else "labels")
        _draw_errors(axes[3], predicted, cloud > 0, weight > 0, "error")
        if truth is not None and erring:
            _draw_errors(axes[4], cloud > 0, truth, weight > 0, "the labels' own errors")
        handles = [Patch(facecolor=colour, edgecolor="grey", label=name) for name, colour in _ERRORS]
        figure.legend(handles=handles, loc="outside lower right", ncols=4, frameon=False)
    for axis in axes:
        axis.set_facecolor("black")
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(Path(scene_path).name, x=0.01, y=0.02, ha="left", va="bottom", fontsize=8)
    figure.savefig(target, dpi=80)
    plt.close(figure)


def _draw_errors(axis: Any, predicted: np.ndarray, cloud: np.ndarray, counted: np.ndarray, title: str) -> None:
    """Draw where `predicted` misses cloud and where it adds some, over the pixels `counted`; all [H, W] bool."""
    errors = np.select([~counted, ~predicted & cloud, predicted & ~cloud], [3, 1, 2], 0)
    accuracy = np.mean(errors[counted] == 0) if counted.any() else float("nan")
    colours = ListedColormap([colour for _, colour in _ERRORS])
    axis.imshow(errors, cmap=colours, norm=BoundaryNorm(np.arange(5) - 0.5, 4), interpolation="nearest")
    axis.set_title(f"{title}: {accuracy:.2%} of pixels right")


def draw_calibration(curve: dict, target: Path) -> None:
    """Draw a reliability diagram: how often it is cloud, over the network's probability of cloud.

    Args:
        curve: as cloudmask.scoring.Scores.calibration_curve gives it, with at least one bin that is not empty.
        target: the PNG to write.
    """
    filled = [(p, c, n) for p, c, n in zip(curve["probability"], curve["cloud"], curve["pixels"]) if n]
    probability, cloud, pixels = map(np.array, zip(*filled))
    target.parent.mkdir(exist_ok=True)
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(4.6, 5.4), layout="constrained", sharex=True, height_ratios=[3, 1]
    )
    above.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--", label="perfectly calibrated")
    above.plot(probability, cloud, "o-", label=f"network, error {curve['expected_calibration_error']:.4f}")
    above.set_ylabel("share of cloud in the labels")
    above.set_title("calibration")
    above.legend(frameon=False)
    above.grid(alpha=0.3)
    below.bar(probability, pixels / pixels.sum(), width=0.5 / len(curve["pixels"]))
    below.set_xlabel("network: probability of cloud")
    below.set_ylabel("pixels")
    below.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.savefig(target, dpi=90)
    plt.close(figure)


def composite(image: np.ndarray, weight: np.ndarray) -> tuple:
    """Compose a false-colour picture, or by night a grey one of temperature.

    Args:
        image: [H, W, 9], normalised.
        weight: [H, W], 0 where nothing was measured; drawn black.

    Returns:
        The picture, [H, W, 3] from 0 to 1, and its title.
    """
    day = (image[..., 0] != 0) & (weight > 0)
    if day.sum() > 0.5 * (weight > 0).sum():
        # Snow and ice clouds turn cyan, low clouds white, vegetation green, desert brown.
        rgb, title = np.clip((image[..., [4, 2, 1]] + 0.5) / 0.8, 0, 1) ** 0.7, "scene: S5, S3, S2 as red, green, blue"
    else:
        kelvin: np.ndarray = image[..., 7] * 22 + 270
        grey = np.clip((300 - kelvin) / 80, 0, 1)
        rgb, title = np.repeat(grey[..., np.newaxis], 3, axis=-1), "scene: S8, cold is bright (night)"
    return np.where((weight > 0)[..., np.newaxis], rgb, 0.0), title

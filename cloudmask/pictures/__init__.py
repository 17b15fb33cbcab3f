"""Pictures of scenes in a run's pictures/: masked ones, and those in which network and labels differ most."""

from pathlib import Path

from cloudmask.config import Config
from cloudmask.masks import netcdf_name, reference_name
from cloudmask.pictures import calibration, disagreement, scene
from cloudmask.report.disagreement import PICTURE as DISAGREEMENT
from cloudmask.scoring import Scores
from common.data.files import DataFile
from common.runs.folder import Run


def draw_scenes(scenes: list[DataFile], run: Run, config: Config, done: set[str]) -> None:
    """Draw the first inference.pictures scenes of those named in `done`."""
    for each in [each for each in scenes if each.name in done][: config.inference.pictures]:
        scene.draw(each.path, _mask(run, each), run / "pictures" / f"{Path(each.name).stem}.png", config)


def draw_disagreements(disputed: list[tuple[DataFile, Scores]], run: Run, config: Config) -> None:
    """Draw where network and labels differ in these scenes, numbered in the order given."""
    for number, (each, scores) in enumerate(disputed, 1):
        target = run / "pictures" / f"{DISAGREEMENT}-{number}.png"
        disagreement.draw(each.path, _mask(run, each), scores, target, config)


def draw_calibration(curve: dict, run: Run) -> None:
    """Draw the calibration of the network's probabilities (cloudmask.scoring.Scores.calibration_curve)."""
    calibration.draw(curve, run / "pictures" / "calibration.png")


def _mask(run: Run, each: DataFile) -> Path:
    names = reference_name(each.path), netcdf_name(each.path)
    return next(path for path in (run / "masks" / name for name in names) if path.is_file())

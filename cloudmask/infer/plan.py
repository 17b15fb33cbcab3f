"""The plan of an inference: which scenes it masks, with which network, in which tiles."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from cloudmask import baseline, masks, scoring
from cloudmask.config import Config
from cloudmask.data.listing import list_scenes
from cloudmask.data.reader import CHANNELS
from cloudmask.data.scenes import split
from cloudmask.network import networks
from cloudmask.network.tiling import Forward, Tiling
from common import distributed
from common.data.files import DataFile
from common.errors import UserError
from common.keras import inference
from common.runs.environment import commit
from common.runs.files import move_aside
from common.session import Session


@dataclass(frozen=True)
class Job:
    """What masking any scene of an inference needs.

    Args:
        config: the settings.
        forward: the network's forward pass; None if scenes are only read.
        tiling: how a scene of the usual size is cut and padded.
        rule: the threshold baseline to score beside the network, if there is one.
        folder: where masks go.
        attributes: of the masks' files.
        other_masks: folders of masks that others made, by their names in tables.
    """

    config: Config
    forward: Optional[Forward]
    tiling: Tiling
    rule: Optional[baseline.Threshold]
    folder: Path
    attributes: dict[str, Any]
    other_masks: dict[str, str] = field(default_factory=dict)

    def in_words(self, scenes: int) -> str:
        """One line on what is done with this number of scenes."""
        if self.forward is None:
            return f"reading {scenes} scenes"
        return f"masking {scenes} scenes with {self.attributes['model']}"


def scenes_to_mask(config: Config) -> list[DataFile]:
    """List all scenes of the inference by name. Collective.

    Raises:
        UserError: if there are none or fewer than ranks, or if two masks would have the same name.
    """
    folder = config.inference.inference_dir or config.data.train_dir
    scenes = list_scenes(folder, config.data.max_scenes)
    if config.inference.only_held_out:
        scenes = split(scenes, config.data).held_out
    if len(scenes) < distributed.size():
        raise UserError(
            f"{len(scenes)} scenes in {folder} for {distributed.size()} ranks: use fewer ranks", on_all_ranks=True
        )
    if config.inference.output != ("reference",):
        _check_names(scenes)
    return scenes


def _check_names(scenes: list[DataFile]) -> None:
    paths: dict[str, str] = {}
    for scene in scenes:
        name = masks.netcdf_name(scene.path)
        if paths.setdefault(name, scene.path) != scene.path:
            raise UserError(
                f"{scene.path} and {paths[name]} would both give a mask named {name}: mask them in separate runs",
                on_all_ranks=True,
            )


def make_job(config: Config, session: Session, scenes: list[DataFile], model_file: Optional[str]) -> Job:
    """Load the network and make the folder for its masks. Collective.

    Args:
        config: the settings.
        session: the open run.
        scenes: all of the inference.
        model_file: the network to use in place of inference.model_file.

    Raises:
        UserError: if there is no network, or its weights do not fit model.network.
    """
    settings, network = config.inference, networks.find(config.model.network)
    tiling, folder = Tiling.of(config.data, settings, network), session.run / "masks"
    if settings.mode == "io":
        return Job(config, None, tiling, None, folder, {})
    if not model_file and not settings.model_file:
        raise UserError(
            "inference.model_file is not set: give the trained network (.keras, .h5 or a SavedModel)", on_all_ranks=True
        )
    if "geotiff" in settings.output:
        masks.crs_of(settings.epsg)
    path = Path(model_file or settings.model_file).expanduser()
    weights = networks.saved(path)
    forward = inference.frozen(networks.load(config.model, str(path)), xla=settings.xla)
    rule = _baseline(config, weights, session)
    others = distributed.on_root(lambda: _other_masks(settings.other_masks, scenes, session))
    if distributed.is_root():
        move_aside(folder)  # left by an inference of this run that was interrupted
        folder.mkdir()
    return Job(config, forward, tiling, rule, folder, _attributes(config, weights), others)


def _other_masks(folders: tuple[str, ...], scenes: list[DataFile], session: Session) -> dict[str, str]:
    """Masks that others made, by name; says which scenes they lack."""
    own = (scoring.NETWORK, scoring.BASELINE, scoring.SUMMARY, scoring.LABELS)
    found = masks.others.by_name(folders, own, scenes)
    for name, folder in found.items():
        lacking = [scene.name for scene in scenes if masks.others.find(folder, scene.path) is None]
        if lacking:
            session.run.say(
                f"{len(lacking)} of {len(scenes)} scenes have no mask in {folder}, such as {lacking[0]}: the scores of "
                f"{name} are of the others"
            )
    return found


def _baseline(config: Config, model_path: Path, session: Session) -> Optional[baseline.Threshold]:
    """The threshold fitted with the model, else one fitted now to the training scenes, else None."""
    # A checkpoint lies two folders below its run's.
    beside = model_path.parent.parent if model_path.parent.name == "checkpoints" else model_path.parent
    candidates = [session.run / "baseline.json", beside / "baseline.json"]
    stored = distributed.on_root(lambda: baseline.stored(candidates))
    if stored is not None:
        return stored
    if config.data.train_dir and Path(config.data.train_dir).expanduser().is_dir():
        scenes = list_scenes(config.data.train_dir, config.data.max_scenes)
        return baseline.fit(split(scenes, config.data).training, config.data, session.run.say)
    session.run.say("no threshold baseline: no baseline.json beside the model, and data.train_dir names no folder")
    return None


def _attributes(config: Config, path: Path) -> dict[str, Any]:
    """Attributes by which a mask can be traced to the network and the program that made it."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    settings = config.inference
    return {
        "threshold": settings.threshold,
        "model": str(path),
        "model_sha256": digest.hexdigest(),
        "mode": settings.mode,
        "missing": config.data.missing,
        "precision": settings.precision,
        "version": f"{commit() or 'no git checkout'}, tensorflow {tf.__version__}",
    }


def warm_up(job: Job) -> None:
    """Compile the forward pass and the scores and allocate their memory, so that the first scene takes no longer."""
    if job.forward is None:
        return
    scoring.prepare()
    blank = np.zeros((1, *job.tiling.padded_shape, CHANNELS), np.float32)
    job.tiling.mask(job.forward, blank)

"""The command `cluster`: train a network without labels; score it and the rule that taught it on held-out scenes."""

from collections import defaultdict
from pathlib import Path
from typing import Callable, Optional

import numpy as np
import tensorflow as tf
from rich.table import Table

from cloudmask import baseline, records
from cloudmask.data import ancillary
from cloudmask.data.listing import list_scenes
from cloudmask.data.patches import read_patches
from cloudmask.data.scenes import Scene, read_scene, split
from cloudmask.masks import others
from cloudmask.network import networks
from cloudmask.network.tiling import Tiling
from cloudmask.research.cluster import figures, rule, self_training
from cloudmask.research.config import ResearchConfig
from cloudmask.scores import BinaryCounts
from common import distributed
from common.data.files import DataFile
from common.errors import UserError
from common.keras.inference import frozen
from common.report.tables import markdown, show, table
from common.runs.files import write_text
from common.session import Session

_MOST_SCENES = 16  # to learn from: their patches are held in memory, 47 MB for a scene of full size
_OWN = ("operational mask", "the labels themselves")
LABELS, TRUTH = "labels", "truth"


Masks = dict[str, Callable[[Scene], np.ndarray]]  # by name, from a scene to its mask [H, W] bool


def main(config: ResearchConfig, session: Session) -> None:
    """Learn, score the masks, print and write the table, and draw scenes.

    Raises:
        UserError: if the data are bad, or if there is more than one rank.
    """
    if distributed.size() > 1:
        raise UserError("cluster runs on one rank: start it without horovodrun", on_all_ranks=True)
    scenes = split(list_scenes(config.data.train_dir, config.data.max_scenes), config.data)
    methods = _fit(config, scenes.training, session.run.say)
    folders = others.by_name(config.inference.other_masks, [*methods, *_OWN], scenes.held_out)
    counts: dict[tuple[str, str], BinaryCounts] = defaultdict(BinaryCounts)
    for number, file in enumerate(scenes.held_out, 1):
        scene = read_scene(file.path, config.data, lambda shape: _tiling(config, shape).padding)
        beside = ancillary.read(file.path, scene.measured.shape)
        masks = {name: mask(scene) for name, mask in methods.items()}
        if beside.summary is not None:
            masks["operational mask"] = beside.summary
        known = {}
        for name, path in {name: others.find(folder, file.path) for name, folder in folders.items()}.items():
            if path is not None:
                masks[name], known[name] = others.read(path, scene.measured.shape, config.inference.threshold)
        _count(counts, masks, known, scene, beside.truth)
        if number <= config.inference.pictures:
            target = session.run / "pictures" / f"{Path(file.name).stem}-without-labels.png"
            figures.draw(_inner(config, scene), masks, beside.truth, target)
        session.run.say(f"  {number} of {len(scenes.held_out)} scenes scored")
    if any(count.pixels for count in counts.values()):
        scores_table = _table(counts, len(scenes.held_out))
        show(scores_table)
        write_text(session.run / "cluster.md", markdown(scores_table) + "\n")
    else:
        session.run.say("no scores: in the held-out scenes no pixel was measured that has a label or a known truth")
    scores: dict[str, dict] = defaultdict(dict)
    for (name, judge), count in counts.items():
        if count.pixels:
            scores[name][judge] = count.scores()
    session.run.record(records.Cluster(scores))


def _fit(config: ResearchConfig, scenes: list[DataFile], say: Callable[[str], None]) -> Masks:
    """Make the masks to compare: self-training on at most 16 scenes, the rule, the baseline, a trained network."""
    images, measured = [], []
    for file in scenes[:_MOST_SCENES]:
        patches, _, seen = read_patches(file.path, config.data, needs_labels=False)
        images.append(patches)
        measured.append(seen)
    if not any(seen.any() for seen in measured):
        raise UserError(
            f"no pixel of the {len(images)} scenes to learn from has a brightness temperature within "
            "data.temperature_range_kelvin: there is nothing to learn"
        )
    say(f"self-training on {len(images)} scenes, without labels")
    taught = self_training.train(np.concatenate(images), np.concatenate(measured), config, say)
    masks: Masks = {
        "self-training": _network(config, taught),
        "cold or bright": lambda scene: rule.judge(_inner(config, scene), config.cluster).cloud,
    }
    try:
        fitted = baseline.fit(scenes, config.data, say)
        masks["threshold baseline"] = lambda scene: fitted.is_cloud(_inner(config, scene))
    except UserError as error:  # it alone needs labels
        say(f"no threshold baseline: {error}")
    if config.inference.model_file:
        network = networks.load(config.model, config.inference.model_file)
        masks["network"] = _network(config, network)
    return masks


def _tiling(config: ResearchConfig, shape: tuple[int, ...]) -> Tiling:
    """The reference network's tiling, which suits every network: the others' pooling cells are no larger."""
    return Tiling.of(config.data, config.inference, networks.find("reference")).fitting(shape)


def _inner(config: ResearchConfig, scene: Scene) -> np.ndarray:
    """The scene without its padding, [H, W, 9]."""
    above, _, left, _ = _tiling(config, scene.measured.shape).padding
    height, width = scene.measured.shape
    return scene.image[0, above : above + height, left : left + width]


def _network(config: ResearchConfig, network: tf.keras.Model) -> Callable[[Scene], np.ndarray]:
    compiled = frozen(network)
    threshold = config.inference.threshold
    return lambda scene: _tiling(config, scene.measured.shape).mask(compiled, scene.image) > threshold


def _count(
    counts: dict,
    masks: dict[str, np.ndarray],
    known: dict[str, Optional[np.ndarray]],
    scene: Scene,
    truth: Optional[np.ndarray],
) -> None:
    """Add a scene's measured pixels, of a mask that lacks some those `known`, to the counts of each mask."""
    where = scene.measured.view(bool)
    judges = {} if scene.cloud is None else {LABELS: scene.cloud.view(bool)}
    if truth is not None:
        judges[TRUTH] = truth
        masks = {**masks, **({"the labels themselves": judges[LABELS]} if LABELS in judges else {})}
    for judge, cloud in judges.items():
        for name, mask in masks.items():
            has = known.get(name)
            counts[name, judge] += BinaryCounts.of_certain(mask, cloud, where if has is None else where & has)


def _table(counts: dict[tuple[str, str], BinaryCounts], scenes: int) -> Table:
    judges = [judge for judge in (LABELS, TRUTH) if any(judge == known for _, known in counts)]
    heads = [f"{score}\nagainst {judge}" for judge in judges for score in ("accuracy", "F1", "Kuiper skill")]
    built = table("Without labels", "mask", *heads)
    for name in dict.fromkeys(name for name, _ in counts):
        cells = []
        for judge in judges:
            count = counts.get((name, judge), BinaryCounts())
            scores = count.scores() if count.pixels else {}
            cells += [f"{scores[each]:.4f}" if scores else "" for each in ("pixel_accuracy", "f1", "kuiper_skill")]
        built.add_row(name, *cells)
    built.caption = (
        f"Measured pixels of {scenes} held-out scenes. The threshold baseline and the network were fitted to labels; "
        "self-training and the rule, cold or bright, used none."
    )
    return built

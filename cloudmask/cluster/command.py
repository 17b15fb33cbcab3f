"""The command: fit both methods on the training scenes without a look at their labels, then score on those held out."""

from collections import defaultdict
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf
from rich.table import Table

from cloudmask import baseline
from cloudmask.cluster import figures, kmeans, rule, self_training
from cloudmask.config import Config
from cloudmask.data import ancillary
from cloudmask.data.listing import list_scenes
from cloudmask.data.patches import read_patches
from cloudmask.data.scenes import Scene, read_scene, split
from cloudmask.network import networks
from cloudmask.network.tiling import Tiling
from cloudmask.scores import BinaryCounts
from common import distributed
from common.data.files import DataFile
from common.errors import UserError
from common.inference import frozen
from common.report.tables import markdown, show, table
from common.session import Session

_MOST_SCENES = 16  # that are learned from: their patches are held in memory, 47 MB a scene of full size
LABELS, TRUTH = "labels", "truth"


class Methods(NamedTuple):
    """masks: by name, from a scene to its mask [H, W] bool. clusters: of the pictures."""

    masks: dict[str, Callable[[Scene], np.ndarray]]
    clusters: kmeans.Clusters


def main(config: Config, session: Session) -> None:
    """Raises UserError on bad data, or on more than one rank."""
    if distributed.size() > 1:
        raise UserError("cluster runs on one rank: start it without horovodrun", on_all_ranks=True)
    scenes = split(list_scenes(config.data.train_dir, config.data.max_scenes), config.data)
    methods = _fit(config, scenes.training, session)
    counts: dict[tuple[str, str], BinaryCounts] = defaultdict(BinaryCounts)
    for number, file in enumerate(scenes.held_out, 1):
        scene = read_scene(file.path, config.data, lambda shape: _tiling(config, shape).padding)
        beside = ancillary.read(file.path, scene.measured.shape)
        masks = {name: mask(scene) for name, mask in methods.masks.items()}
        if beside.summary is not None:
            masks["operational mask"] = beside.summary
        _count(counts, masks, scene, beside.truth)
        if number <= config.inference.pictures:
            (session.run / "pictures").mkdir(exist_ok=True)
            target = session.run / "pictures" / f"{Path(file.name).stem}-clusters.png"
            figures.draw(_inner(config, scene), methods.clusters, masks, beside.truth, target)
        session.run.say(f"  {number} of {len(scenes.held_out)} scenes scored")
    made = _table(counts, len(scenes.held_out))
    show(made)
    (session.run / "cluster.md").write_text(markdown(made) + "\n", encoding="utf-8")
    scores: dict[str, dict] = defaultdict(dict)
    for (name, judge), count in counts.items():
        scores[name][judge] = count.scores()
    session.run.record("cluster", scores=scores, cloudy_clusters=int(methods.clusters.cloud.sum()))


def _fit(config: Config, scenes: list[DataFile], session: Session) -> Methods:
    """Both on at most 16 scenes. The threshold, which is fitted on labels, and a trained network stand beside them."""
    say, settings = session.run.say, config.cluster
    chosen = scenes[:_MOST_SCENES]
    images, measured, pixels = [], [], []
    rng = np.random.default_rng(settings.seed)
    for file in chosen:
        patches, _, seen = read_patches(file.path, config.data)
        known = np.concatenate([kmeans.features(patch)[seen[n, ..., 0] > 0] for n, patch in enumerate(patches)])
        pixels.append(known[rng.permutation(len(known))[: settings.pixels // len(chosen)]])
        images.append(patches)
        measured.append(seen)
    say(f"clusters: {settings.clusters} of {sum(map(len, pixels))} pixels of {len(chosen)} scenes, no label looked at")
    clusters = kmeans.fit(np.concatenate(pixels), settings)
    say(f"clusters: {int(clusters.cloud.sum())} of {settings.clusters} are cold or bright, that is cloud")
    taught = self_training.train(np.concatenate(images), np.concatenate(measured), config, say)
    fitted = baseline.fit(scenes, config.data, say)
    masks = {
        "k-means": lambda scene: clusters.cloud[clusters.of(_inner(config, scene))],
        "self-training": _network(config, taught),
        "cold or bright": lambda scene: rule.judge(_inner(config, scene), settings).cloud,
        "threshold baseline": lambda scene: fitted.is_cloud(_inner(config, scene)),
    }
    if config.inference.model_file:
        network = networks.load(config.model, config.inference.model_file)
        masks["network"] = _network(config, network)
    return Methods(masks, clusters)


def _tiling(config: Config, shape: tuple[int, ...]) -> Tiling:
    """Whole pooling cells for the reference do for every network: the others' are as large or smaller."""
    return Tiling.of(config.data, config.inference, networks.find("reference")).fitting(shape)


def _inner(config: Config, scene: Scene) -> np.ndarray:
    """[H, W, 9], the scene without its padding."""
    above, _, left, _ = _tiling(config, scene.measured.shape).padding
    height, width = scene.measured.shape
    return scene.image[0, above : above + height, left : left + width]


def _network(config: Config, network: tf.keras.Model) -> Callable[[Scene], np.ndarray]:
    compiled = frozen(network)
    threshold = config.inference.threshold
    return lambda scene: _tiling(config, scene.measured.shape).mask(compiled, scene.image) > threshold


def _count(counts: dict, masks: dict[str, np.ndarray], scene: Scene, truth: Optional[np.ndarray]) -> None:
    """Add a scene's pixels to counts by (mask, judge)."""
    where = scene.measured.view(bool)
    judges = {} if scene.cloud is None else {LABELS: scene.cloud.view(bool)}
    if truth is not None:
        judges[TRUTH] = truth
        masks = {**masks, **({"the labels themselves": judges[LABELS]} if LABELS in judges else {})}
    for judge, cloud in judges.items():
        for name, mask in masks.items():
            counts[name, judge] += BinaryCounts.of_certain(mask, cloud, where)


def _table(counts: dict[tuple[str, str], BinaryCounts], scenes: int) -> Table:
    judges = [judge for judge in (LABELS, TRUTH) if any(judge == known for _, known in counts)]
    heads = [f"{score}\nagainst {judge}" for judge in judges for score in ("accuracy", "F1", "Kuiper skill")]
    made = table("Without labels", "mask", *heads)
    for name in dict.fromkeys(name for name, _ in counts):
        cells = []
        for judge in judges:
            scores = counts[name, judge].scores() if (name, judge) in counts else {}
            cells += [f"{scores[each]:.4f}" if scores else "" for each in ("pixel_accuracy", "f1", "kuiper_skill")]
        made.add_row(name, *cells)
    made.caption = (
        f"Measured pixels of {scenes} scenes held out. The threshold baseline is fitted on labels, as is the network; "
        "k-means, self-training and the rule, cold or bright, have seen none."
    )
    return made

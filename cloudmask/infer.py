"""A cloud mask for every scene, timed and scored. Scenes are shared out over ranks."""

import hashlib
from contextlib import nullcontext
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from cloudmask import baseline, masks, pictures, reference_log, scoring
from cloudmask.config import Config
from cloudmask.data.listing import list_scenes
from cloudmask.data.reader import CHANNELS
from cloudmask.data.scenes import split
from cloudmask.masking import Job, Result, mask_all
from cloudmask.network import networks
from cloudmask.network.tiling import Tiling
from cloudmask.scoring import NETWORK, Scores
from common import distributed, inference, timing
from common.data.files import DataFile
from common.data.order import share
from common.errors import UserError
from common.report.tables import show
from common.runs.environment import commit
from common.runs.files import move_aside
from common.session import Session
from common.training import precision


def infer(config: Config, session: Session, model_file: Optional[str] = None) -> dict:
    """Mask all scenes; returns the summary that is also recorded. The failed scenes are in summary["failed"].

    Raises UserError if there is no scene, no model, or there are fewer scenes than ranks.
    """
    settings, run = config.inference, session.run
    precision.apply("inference", settings)
    scenes = _scenes(config)
    first, last = share(len(scenes), distributed.rank(), distributed.size())
    own = scenes[first:last]
    job = _prepare(config, session, model_file)
    what = f"{len(scenes)} scenes"
    what = f"reading {what}" if job.forward is None else f"masking {what} with {job.attributes['model']}"
    run.say(f"{what} ({settings.mode}, {precision.in_words(settings)})")
    _warm_up(job)
    results: list[Result] = []

    def one_pass() -> timing.Work:
        results[:] = mask_all(job, own, run.say)
        return timing.Work(len(own), sum(scene.bytes for scene in own))

    # After a training, whose timed part is over, inference is an interval of its own.
    with nullcontext() if session.began else session.timed():
        session.log.start("inference", scenes=len(scenes))
        runs = timing.measure(one_pass, settings.num_warmup_runs, settings.num_runs, run.say)
        session.log.end("inference", scenes=len(scenes))
    everything = [result for part in distributed.gather_objects(results) for result in part]
    summary = summarise(everything, runs, job.tiling)
    summary["rule"] = str(job.rule) if job.rule else ""
    _record(config, session, everything, summary)
    reference_log.write(run, config, reference_log.inference_line(config, summary))
    if distributed.is_root():
        about = {
            "mode": settings.mode,
            "precision": settings.precision,
            "tf32": settings.tf32,
            "ranks": distributed.size(),
        }
        timing.write(str(run / "inference"), runs, {**about, "scores": summary["scores"]})
        if len(runs) > 1 or job.forward is None:
            show(timing.runs_table(runs))
        if job.forward is not None:
            pictures.draw_scenes(scenes, run, config, {result.name for result in everything if not result.error})
            disputed = _most_disputed(everything, settings.disagreements)
            pictures.draw_disagreements(
                [scene for name in disputed for scene in scenes if scene.name == name], run, config
            )
        if summary.get("calibration"):
            pictures.draw_calibration(summary["calibration"], run / "pictures" / "calibration.png")
    return summary


def _prepare(config: Config, session: Session, model_file: Optional[str]) -> Job:
    settings, network = config.inference, networks.find(config.model.network)
    tiling, folder = Tiling.of(config.data, settings, network), session.run / "masks"
    if settings.mode == "io":
        return Job(config, None, tiling, None, folder, {})
    if not model_file and not settings.model_file:
        raise UserError("inference.model_file is not set: give the trained network (.keras, .h5 or a SavedModel)", True)
    path = Path(model_file or settings.model_file).expanduser()
    compiled = inference.frozen(networks.load(config.model, str(path)), xla=settings.xla)
    rule = _baseline(config, path, session)
    if distributed.is_root():
        move_aside(folder)  # what an inference of this run left that was stopped
        folder.mkdir()
    return Job(config, compiled, tiling, rule, folder, _attributes(config, path))


def _record(config: Config, session: Session, results: list[Result], summary: dict) -> None:
    settings, run = config.inference, session.run
    session.log.events({"inference_precision_mode": settings.precision, "inference_tf32": settings.tf32})
    if NETWORK in summary["scores"]:
        session.log.event("inference_accuracy", summary["scores"][NETWORK]["pixel_accuracy"])
    if "truth" in summary:
        session.log.event("inference_accuracy_against_truth", summary["truth"]["scores"][NETWORK]["pixel_accuracy"])
    for result in results:
        values = _scene_scores(result.scores)
        run.record("scene", **{k: v for k, v in vars(result).items() if k != "scores"}, **values)
        if result.error:
            run.say(f"failed: {result.error}")
    run.record(
        "inference",
        mode=settings.mode,
        precision=settings.precision,
        tf32=settings.tf32,
        ranks=distributed.size(),
        **summary,
    )


def _scene_scores(scores: Optional[Scores]) -> dict[str, Any]:
    """The network's, its accuracy against the truth where that is known, and its disagreement with the labels."""
    if scores is None:
        return {}
    values: dict[str, Any] = dict(scores.by_mask().get(NETWORK, {}))
    if scores.truth is not None and values:
        values["accuracy_against_truth"] = scores.truth.by_mask()[NETWORK]["pixel_accuracy"]
    return {**values, "disagreement": scores.disagreement()} if values else {}


def _most_disputed(results: list[Result], count: int) -> list[str]:
    """Names of the scenes in which network and labels differ most."""
    shares = {r.name: r.scores.disagreement().get("share", 0.0) for r in results if not r.error and r.scores}
    return sorted(shares, key=lambda name: -shares[name])[:count]


def _scenes(config: Config) -> list[DataFile]:
    folder = config.inference.inference_dir or config.data.train_dir
    scenes = list_scenes(folder, config.data.max_scenes)
    if config.inference.only_held_out:
        scenes = split(scenes, config.data).held_out
    if len(scenes) < distributed.size():
        raise UserError(f"{len(scenes)} scenes in {folder} for {distributed.size()} ranks: use fewer ranks", True)
    names: dict[str, str] = {}
    for scene in scenes:
        name = masks.netcdf_name(scene.path)
        if names.setdefault(name, scene.path) != scene.path and config.inference.output != "reference":
            raise UserError(
                f"{scene.path} and {names[name]} would give masks of one name, {name}: mask them apart", True
            )
    return scenes


def _baseline(config: Config, model_path: Path, session: Session) -> Optional[baseline.Threshold]:
    """The threshold fitted with the model, or fitted now on the training scenes, or None if there are neither."""
    places = [session.run / "baseline.json", model_path.parent / "baseline.json"]
    stored = distributed.on_root(lambda: baseline.stored(places))
    if stored is not None:
        return stored
    if config.data.train_dir and Path(config.data.train_dir).expanduser().is_dir():
        scenes = list_scenes(config.data.train_dir, config.data.max_scenes)
        return baseline.fit(split(scenes, config.data).training, config.data, session.run.say)
    session.run.say("no threshold baseline: there is no baseline.json beside the model, and data.train_dir is not set")
    return None


def _attributes(config: Config, path: Path) -> dict:
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


def _warm_up(job: Job) -> None:
    """Compile forward pass and scores and touch their memory, so that the first scene is timed as the others are."""
    if job.forward is None:
        return
    scoring.prepare()
    blank = np.zeros((1, *job.tiling.padded_shape, CHANNELS), np.float32)
    for _ in range(job.config.inference.warmup_scenes):
        job.tiling.mask(job.forward, blank)


def summarise(results: list[Result], runs: list[timing.Measured], tiles: Tiling) -> dict:
    """Times of all runs, and scores of all ranks' results of the last."""
    seconds = float(np.median([run.seconds for run in runs]))
    done = [result for result in results if not result.error]
    pixels = tiles.rows.length * tiles.columns.length
    scored = [result.scores for result in done if result.scores is not None]
    total = reduce(add, scored, Scores())
    scores = total.by_mask()
    truth = (
        {} if total.truth is None else {"truth": {"scores": total.truth.by_mask(), "strata": total.truth.by_stratum()}}
    )
    return {
        "inferences": len(done),
        "failed": [result.name for result in results if result.error],
        "runs": len(runs),
        "seconds": seconds,
        "time_per_inference": seconds / max(len(done), 1),
        "scenes_per_second": len(done) / seconds,
        "megapixels_per_second": len(done) * pixels / seconds / 1e6,
        "read": timing.summary([result.read for result in done]),
        "compute": timing.summary([result.compute for result in done]),
        "write": timing.summary([result.write for result in done]),
        "rank_seconds": runs[-1].rank_seconds,
        "scores": scores,
        "strata": total.by_stratum(),
        "scene_means": scoring.scene_means(scored) if scores else {},
        "calibration": total.calibration_curve() if scores else {},
        **truth,
    }

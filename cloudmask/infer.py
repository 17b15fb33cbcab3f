"""A cloud mask for every scene, timed and scored.

Scenes are shared out over ranks. On each rank one thread reads ahead and another writes and scores behind, while the
network computes. A scene that cannot be read or written is reported and the others are done.

A mask is `NAME.hdf.h5` with dataset `mask` [1, H, W, 1] float32, the probability of cloud, NaN outside the swath,
as the reference program writes it; attributes say how it was made.
"""

import hashlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from cloudmask import baseline, pictures, reference_log
from cloudmask.config import Config
from cloudmask.data.scenes import CHANNELS, Missing, Scene, list_scenes, mask_name, read_scene, split
from cloudmask.network import networks, tiling
from cloudmask.network.tiling import Tiling
from cloudmask.scores import BinaryCounts
from common import distributed, timing
from common.data import hdf5
from common.data.files import DataFile
from common.data.order import share
from common.errors import UserError
from common.runs.environment import commit
from common.runs.files import move_aside
from common.session import Session
from common.training.step import forward


@dataclass(frozen=True)
class Job:
    """What every scene of a run needs."""

    config: Config
    forward: tiling.Forward
    tiling: Tiling
    rule: Optional[baseline.Threshold]
    folder: Path  # where masks go
    attributes: dict


@dataclass
class Result:
    """One scene: seconds by part, and its counts (network, baseline), or the error."""

    name: str
    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0
    counts: Optional[np.ndarray] = None  # [2, 5]: BinaryCounts of the network and of the baseline
    error: str = ""


def infer(config: Config, session: Session, model_file: Optional[str] = None) -> dict:
    """Mask all scenes; returns the summary that is also recorded. The failed scenes are in summary["failed"].

    Raises UserError if there is no scene, no model, or there are fewer scenes than ranks.
    """
    settings, run = config.inference, session.run
    tf.keras.mixed_precision.set_global_policy(settings.precision)
    scenes = _scenes(config)
    first, last = share(len(scenes), distributed.rank(), distributed.size())
    job = _prepare(config, session, model_file)
    run.say(f"masking {len(scenes)} scenes with {job.attributes['model']} ({settings.mode}, {settings.precision})")
    _warm_up(job)
    distributed.barrier()
    # After a training, whose timed part is over, inference is an interval of its own.
    with nullcontext() if session.began else session.timed():
        session.log.start("inference", scenes=len(scenes))
        started = time.perf_counter()
        results = _mask_all(job, scenes[first:last], run.say)
        own_seconds = time.perf_counter() - started
        everything = [result for part in distributed.gather_objects(results) for result in part]
        seconds = time.perf_counter() - started
        session.log.end("inference", scenes=len(scenes))
    own_bytes = sum(scene.bytes for scene in scenes[first:last])
    by_rank = distributed.gather_objects((own_seconds, len(results), own_bytes))
    measured = timing.Measured(seconds, *map(list, zip(*by_rank)))
    summary = summarise(everything, measured, job.tiling)
    summary["rule"] = str(job.rule) if job.rule else ""
    _record(config, session, everything, summary)
    reference_log.write(run, config, reference_log.inference_line(config, summary))
    if distributed.is_root():
        about = {"mode": settings.mode, "precision": settings.precision, "ranks": distributed.size()}
        timing.write(str(run / "inference"), [measured], {**about, "scores": summary["scores"]})
        pictures.draw_scenes(scenes, run, config, {result.name for result in everything if not result.error})
    return summary


def _prepare(config: Config, session: Session, model_file: Optional[str]) -> Job:
    settings = config.inference
    if not model_file and not settings.model_file:
        raise UserError("inference.model_file is not set: give the trained network (.keras, .h5 or a SavedModel)", True)
    path = Path(model_file or settings.model_file).expanduser()
    network = networks.find(config.model.network)
    compiled = forward(networks.load(network, str(path)), xla=settings.xla)
    rule = _baseline(config, path, session)
    folder = session.run / "masks"
    if distributed.is_root():
        move_aside(folder)  # what an inference of this run left that was stopped
        folder.mkdir()
    return Job(config, compiled, Tiling.of(config.data, settings, network), rule, folder, _attributes(config, path))


def _record(config: Config, session: Session, results: list[Result], summary: dict) -> None:
    settings, run = config.inference, session.run
    if "network" in summary["scores"]:
        session.log.event("inference_accuracy", summary["scores"]["network"]["pixel_accuracy"])
    for result in results:
        values = {} if result.counts is None else BinaryCounts.from_array(result.counts[0]).scores()
        run.record("scene", **{k: v for k, v in vars(result).items() if k != "counts"}, **values)
        if result.error:
            run.say(f"failed: {result.error}")
    run.record("inference", mode=settings.mode, precision=settings.precision, ranks=distributed.size(), **summary)


def _scenes(config: Config) -> list[DataFile]:
    folder = config.inference.inference_dir or config.data.train_dir
    scenes = list_scenes(folder, config.data.max_scenes)
    if config.inference.only_held_out:
        scenes = split(scenes, config.data).held_out
    if len(scenes) < distributed.size():
        raise UserError(f"{len(scenes)} scenes in {folder} for {distributed.size()} ranks: use fewer ranks", True)
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
        "precision": settings.precision,
        "version": f"{commit() or 'no git checkout'}, tensorflow {tf.__version__}",
    }


def _warm_up(job: Job) -> None:
    """Compile the forward pass and touch its memory, so that the first scene is timed as the others are."""
    blank = np.zeros((1, *job.tiling.padded_shape, CHANNELS), np.float32)
    for _ in range(job.config.inference.warmup_scenes):
        job.tiling.mask(job.forward, blank)


class _Read(NamedTuple):
    scene: Scene
    seconds: float


def _read(job: Job, file: DataFile) -> _Read:
    started = time.perf_counter()
    file.check()
    settings = job.config.data
    scene = read_scene(file.path, Missing.of(settings), job.tiling.padding, settings.image_h, settings.image_w)
    return _Read(scene, time.perf_counter() - started)


def _write(job: Job, file: DataFile, mask: np.ndarray, scene: Scene, result: Result) -> None:
    started = time.perf_counter()
    mask = np.where(scene.weight > 0, mask, np.float32(np.nan))
    with hdf5.write_file(job.folder / mask_name(file.path)) as target:
        dataset = target.create_dataset("mask", data=mask[np.newaxis, :, :, np.newaxis])
        for name, value in {**job.attributes, "source": file.path}.items():
            dataset.attrs[name] = value
    if scene.cloud is not None:
        result.counts = _counts(job, mask, scene, scene.cloud)
    result.write = time.perf_counter() - started


def _counts(job: Job, mask: np.ndarray, scene: Scene, cloud: np.ndarray) -> np.ndarray:
    """BinaryCounts of the network and of the baseline, [2, 5]."""
    above, _, left, _ = job.tiling.padding
    inner = scene.image[0, above : above + mask.shape[0], left : left + mask.shape[1]]
    network = BinaryCounts.of(mask, cloud, scene.weight, job.config.inference.threshold)
    rule = BinaryCounts()
    if job.rule is not None:
        rule = BinaryCounts.of(job.rule.predict(inner), cloud, scene.weight, 0.5)
    return np.stack([network.as_array(), rule.as_array()])


def _mask_all(job: Job, scenes: list[DataFile], say: Callable[[str], None]) -> list[Result]:
    """Read ahead, compute, write behind; one Result per scene, in order."""
    results: list[Result] = []
    writes: list[Future] = []
    shown = time.perf_counter()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        waiting = [reader.submit(_read, job, scene) for scene in scenes[:2]]
        for number, scene in enumerate(scenes):
            result = Result(scene.name)
            results.append(result)
            reading = waiting.pop(0)
            if number + 2 < len(scenes):
                waiting.append(reader.submit(_read, job, scenes[number + 2]))
            try:
                arrays, result.read = reading.result()
                started = time.perf_counter()
                mask = job.tiling.mask(job.forward, arrays.image)
                result.compute = time.perf_counter() - started
                if len(writes) > 1:  # no more than two scenes behind, or memory would fill up
                    writes[-2].result()
                writes.append(writer.submit(_note_errors, result, _write, job, scene, mask, arrays, result))
            except UserError as error:
                result.error = str(error)
            if time.perf_counter() - shown > 10:
                shown = time.perf_counter()
                say(f"  {number + 1} of {len(scenes)} scenes of rank 0 done")
        for write in writes:
            write.result()  # raises what is not a UserError, a fault of ours
    return results


def _note_errors(result: Result, work: Callable, *arguments) -> None:
    try:
        work(*arguments)
    except UserError as error:
        result.error = str(error)


def summarise(results: list[Result], measured: timing.Measured, tiles: Tiling) -> dict:
    """Times and scores of all ranks' results."""
    seconds = measured.seconds
    done = [result for result in results if not result.error]
    pixels = tiles.rows.length * tiles.columns.length
    counts = [result.counts for result in done if result.counts is not None]
    total = np.sum(counts, axis=0) if counts else np.zeros((2, 5))
    names = ("network", "baseline")
    scores = {n: BinaryCounts.from_array(c).scores() for n, c in zip(names, total) if c[:4].sum() > 0}
    return {
        "inferences": len(done),
        "failed": [result.name for result in results if result.error],
        "seconds": seconds,
        "time_per_inference": seconds / max(len(done), 1),
        "scenes_per_second": len(done) / seconds,
        "megapixels_per_second": len(done) * pixels / seconds / 1e6,
        "read": timing.summary([result.read for result in done]),
        "compute": timing.summary([result.compute for result in done]),
        "write": timing.summary([result.write for result in done]),
        "rank_seconds": measured.rank_seconds,
        "scores": scores,
    }

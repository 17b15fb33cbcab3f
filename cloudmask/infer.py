"""A cloud mask for every scene, timed and scored.

Scenes are shared out over ranks. On each rank one thread reads ahead and another writes and scores behind, while the
network computes. A scene that cannot be read or written is reported and the others are done.

A mask is `NAME.hdf.h5` with dataset `mask` [1, H, W, 1] float32, the probability of cloud, NaN outside the swath,
as the reference program writes it; attributes say how it was made.
"""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import tensorflow as tf

from cloudmask import baseline, pictures
from cloudmask.config import Config
from cloudmask.data import scenes as data
from cloudmask.network import tiling
from cloudmask.network import unet as model
from cloudmask.scores import BinaryCounts
from common import distributed, repeated, timing
from common.data import batches as pipeline
from common.data import hdf5
from common.errors import UserError
from common.runs.folder import Run, commit, move_aside
from common.runs.mlperf import Log
from common.training import loop as training


@dataclass(frozen=True)
class Job:
    """What every scene of a run needs."""

    config: Config
    forward: tiling.Forward
    axes: tuple
    rule: Optional[baseline.Threshold]
    folder: Path  # where masks go
    attributes: dict

    @property
    def padding(self) -> tuple:
        return tiling.padding(*self.axes, self.config.inference.mode)


@dataclass
class Result:
    """One scene: seconds by part, and its counts (network, baseline), or the error."""

    name: str
    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0
    counts: Optional[np.ndarray] = None  # [2, 5]: BinaryCounts of the network and of the baseline
    error: str = ""


def infer(config: Config, run: Run, log: Log, threads: int, model_file: Optional[str] = None) -> dict:
    """Mask all scenes; returns the summary that is also recorded. The failed scenes are in summary["failed"].

    Raises UserError if there is no scene, no model, or there are fewer scenes than ranks.
    """
    settings = config.inference
    tf.keras.mixed_precision.set_global_policy(settings.precision)
    scenes = _scenes(config)
    path = model_file or settings.model_file
    if not path:
        raise UserError("inference.model_file is not set: give the trained network (.keras, .h5 or a SavedModel)", True)
    network = model.load(str(Path(path).expanduser()))
    axes = tiling.axes(config.data.image_h, config.data.image_w, config.data.patch_size, settings.crop_size)
    rule = _baseline(config, Path(path).expanduser(), run)
    job = Job(config, training.forward(network, settings.xla), axes, rule, run / "masks", _attributes(config, path))
    if distributed.is_root():
        move_aside(job.folder)  # what an inference of this run left that was stopped
        job.folder.mkdir()
    first, last = pipeline.share(len(scenes), distributed.rank(), distributed.size())
    run.say(f"masking {len(scenes)} scenes with {path} ({settings.mode}, {settings.precision})")
    _warm_up(job)
    distributed.barrier()
    log.start("eval", scenes=len(scenes))
    started = time.perf_counter()
    results = _mask_all(job, scenes[first:last], run)
    own_seconds = time.perf_counter() - started
    everything = [result for part in distributed.gather_objects(results) for result in part]
    seconds = time.perf_counter() - started
    rank_seconds = distributed.gather_objects(own_seconds)
    own_bytes = sum(scene.bytes for scene in scenes[first:last])
    measured = repeated.Measured(
        seconds, rank_seconds, distributed.gather_objects(len(results)), distributed.gather_objects(own_bytes)
    )
    summary = summarise(everything, seconds, rank_seconds, axes)
    summary["rule"] = str(rule) if rule else ""
    if "network" in summary["scores"]:
        log.event("eval_accuracy", summary["scores"]["network"]["pixel_accuracy"])
    log.end("eval", scenes=len(scenes))
    for result in everything:
        values = {} if result.counts is None else BinaryCounts.from_array(result.counts[0]).scores()
        run.record("scene", **{k: v for k, v in vars(result).items() if k != "counts"}, **values)
        if result.error:
            run.say(f"failed: {result.error}")
    run.record("inference", mode=settings.mode, precision=settings.precision, ranks=distributed.size(), **summary)
    if distributed.is_root():
        about = {"mode": settings.mode, "precision": settings.precision, "ranks": distributed.size()}
        repeated.write(str(run / "inference"), [measured], {**about, "scores": summary["scores"]})
        pictures.draw_scenes(scenes, run, config, {result.name for result in everything if not result.error})
    return summary


def _scenes(config: Config) -> list:
    folder = config.inference.inference_dir or config.data.train_dir
    scenes = data.list_scenes(folder, config.data.max_scenes)
    if config.inference.only_held_out:
        _, scenes = data.split(scenes, config.data)
    if len(scenes) < distributed.size():
        raise UserError(f"{len(scenes)} scenes in {folder} for {distributed.size()} ranks: use fewer ranks", True)
    return scenes


def _baseline(config: Config, model_path: Path, run: Run) -> Optional[baseline.Threshold]:
    """The threshold fitted with the model, or fitted now on the training scenes, or None if there are neither."""

    def stored() -> Optional[dict]:
        found = next((p for p in (run / "baseline.json", model_path.parent / "baseline.json") if p.is_file()), None)
        return json.loads(found.read_text(encoding="utf-8")) if found else None

    values = distributed.on_root(stored)
    if values is not None:
        return baseline.Threshold(**values)
    if config.data.train_dir and Path(config.data.train_dir).expanduser().is_dir():
        training_scenes, _ = data.split(data.list_scenes(config.data.train_dir, config.data.max_scenes), config.data)
        return baseline.fit(training_scenes, config.data)
    run.say("no threshold baseline: there is no baseline.json beside the model, and data.train_dir is not set")
    return None


def _attributes(config: Config, path: str) -> dict:
    digest = hashlib.sha256()
    source = Path(path).expanduser()
    for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
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
    above, below, left, right = job.padding
    rows, columns = job.axes
    blank = np.zeros((1, rows.length + above + below, columns.length + left + right, data.CHANNELS), np.float32)
    for _ in range(job.config.inference.warmup_scenes):
        tiling.mask_scene(job.forward, blank, rows, columns, job.config.inference.mode, job.config.inference.tile_size)


def _read(job: Job, scene: pipeline.DataFile) -> tuple:
    started = time.perf_counter()
    scene.check()
    settings = job.config.data
    arrays = data.read_scene(scene.path, data.Missing.of(settings), job.padding, settings.image_h, settings.image_w)
    return arrays, time.perf_counter() - started


def _write(job: Job, scene: pipeline.DataFile, mask: np.ndarray, arrays: tuple, result: Result) -> None:
    started = time.perf_counter()
    image, weight, cloud = arrays
    mask = np.where(weight > 0, mask, np.float32(np.nan))
    with hdf5.write_file(job.folder / data.mask_name(scene.path)) as file:
        dataset = file.create_dataset("mask", data=mask[np.newaxis, :, :, np.newaxis])
        for name, value in {**job.attributes, "source": scene.path}.items():
            dataset.attrs[name] = value
    if cloud is not None:
        above, _, left, _ = job.padding
        inner = image[0, above : above + mask.shape[0], left : left + mask.shape[1]]
        threshold = job.config.inference.threshold
        network = BinaryCounts.of(mask, cloud, weight, threshold)
        rule = BinaryCounts() if job.rule is None else BinaryCounts.of(job.rule.predict(inner), cloud, weight, 0.5)
        result.counts = np.stack([network.as_array(), rule.as_array()])
    result.write = time.perf_counter() - started


def _mask_all(job: Job, scenes: list, run: Run) -> list:
    """Read ahead, compute, write behind; one Result a scene, in order."""
    settings = job.config.inference
    results, writes, shown = [], [], time.perf_counter()
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
                mask = tiling.mask_scene(job.forward, arrays[0], *job.axes, settings.mode, settings.tile_size)
                result.compute = time.perf_counter() - started
                if len(writes) > 1:  # no more than two scenes behind, or memory would fill up
                    writes[-2].result()
                writes.append(writer.submit(_note_errors, result, _write, job, scene, mask, arrays, result))
            except UserError as error:
                result.error = str(error)
            if time.perf_counter() - shown > 10:
                shown = time.perf_counter()
                run.say(f"  {number + 1} of {len(scenes)} scenes of rank 0 done")
        for write in writes:
            write.result()  # raises what is no UserError, a fault of ours
    return results


def _note_errors(result: Result, work, *arguments) -> None:
    try:
        work(*arguments)
    except UserError as error:
        result.error = str(error)


def summarise(results: list, seconds: float, rank_seconds: list, axes: tuple) -> dict:
    """Times and scores of all ranks' results. `seconds`: from the common start until the last rank was done."""
    done = [result for result in results if not result.error]
    pixels = axes[0].length * axes[1].length
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
        "rank_seconds": rank_seconds,
        "scores": scores,
    }

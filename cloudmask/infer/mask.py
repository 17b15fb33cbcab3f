"""Masking of scenes, one after the other.

While the network computes, other threads read the next scenes and write and score the previous ones. A scene that
cannot be read or written is reported, and the others are masked.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import numpy as np

from cloudmask import masks, quicklook, scoring
from cloudmask.data import ancillary
from cloudmask.data.scenes import Scene, read_scene
from cloudmask.infer.plan import Job
from cloudmask.scoring import Scores
from common.data.files import DataFile
from common.errors import UserError

_PROGRESS_SECONDS = 10.0  # between two lines of progress


@dataclass
class Result:
    """What became of one scene.

    Args:
        name: of its file.
        read: seconds of reading; likewise `compute` and `write` (which includes scoring).
        scores: None without labels.
        error: why it has no mask; empty if it has one.
    """

    name: str
    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0
    scores: Optional[Scores] = None
    error: str = ""


class _Loaded(NamedTuple):
    """A scene in memory, what its file has beside the channels, and the seconds that reading took."""

    scene: Scene
    beside: ancillary.Ancillary
    seconds: float


def mask_all(job: Job, scenes: list[DataFile], say: Callable[[str], None]) -> list[Result]:
    """Mask this rank's scenes, reading ahead of the network and writing behind it.

    Args:
        job: the network, its tiling and where masks go.
        scenes: this rank's.
        say: called with lines of progress.

    Returns:
        A Result for each scene, in order.
    """
    results: list[Result] = []
    writes: list[Future] = []
    shown = time.perf_counter()
    at_once = job.config.inference.readers
    with ThreadPoolExecutor(at_once, "read") as readers, ThreadPoolExecutor(1, "write") as writer:
        waiting = [readers.submit(_read, job, scene) for scene in scenes[: at_once + 1]]
        for number, scene in enumerate(scenes):
            result = Result(scene.name)
            results.append(result)
            reading = waiting.pop(0)
            if number + at_once + 1 < len(scenes):
                waiting.append(readers.submit(_read, job, scenes[number + at_once + 1]))
            try:
                loaded = reading.result()
                result.read = loaded.seconds
                if job.forward is not None:
                    started = time.perf_counter()
                    tiling = job.tiling.fitting(loaded.scene.measured.shape)
                    probability = tiling.mask(job.forward, loaded.scene.image)
                    result.compute = time.perf_counter() - started
                    if len(writes) > 1:  # no more than two scenes behind, or memory would fill up
                        writes[-2].result()
                    writes.append(writer.submit(_finish, job, scene, probability, loaded, result))
            except UserError as error:
                result.error = str(error)
            if time.perf_counter() - shown > _PROGRESS_SECONDS:
                shown = time.perf_counter()
                say(f"  rank 0: {number + 1} of {len(scenes)} scenes done")
        for write in writes:
            write.result()  # raises any other error than UserError, which is a bug
    return results


def _read(job: Job, file: DataFile) -> _Loaded:
    started = time.perf_counter()
    file.check()
    settings = job.config.data
    scene = read_scene(file.path, settings, lambda shape: job.tiling.fitting(shape).padding)
    needs_ancillary = job.forward is not None and (
        scene.cloud is not None or job.config.inference.output != ("reference",)
    )
    beside = ancillary.read(file.path, scene.measured.shape) if needs_ancillary else ancillary.Ancillary()
    if settings.labels == "summary":
        beside = beside._replace(summary=None)  # it would be scored against itself
    return _Loaded(scene, beside, time.perf_counter() - started)


def _finish(job: Job, file: DataFile, probability: np.ndarray, loaded: _Loaded, result: Result) -> None:
    """Write a scene's mask and score it; an error goes into its result."""
    started = time.perf_counter()
    try:
        _write(job, file, probability, loaded)
        if loaded.scene.cloud is not None:
            result.scores = _score(job, file, probability, loaded)
    except UserError as error:
        result.error = str(error)
    result.write = time.perf_counter() - started


def _write(job: Job, file: DataFile, probability: np.ndarray, loaded: _Loaded) -> None:
    settings, scene = job.config.inference, loaded.scene
    attributes = {**job.attributes, "source": file.path}
    product = {**attributes, "product": Path(file.path).name}
    of_scene = probability, scene.measured, loaded.beside, settings.threshold
    if "reference" in settings.output:
        shown = np.where(scene.counted(job.config.data) > 0, probability, np.float32(np.nan))
        masks.write_reference(_anew(job, masks.reference_name(file.path)), shown, attributes)
    if "netcdf" in settings.output:
        masks.write_netcdf(_anew(job, masks.netcdf_name(file.path)), *of_scene, product)
    if "geotiff" in settings.output:
        masks.write_geotiff(_anew(job, masks.geotiff_name(file.path)), *of_scene, settings.epsg, product)
    if "quicklook" in settings.output:
        cloud = probability > settings.threshold
        target = _anew(job, quicklook.name_of(file.path))
        quicklook.write(target, file.path, _inner(job, scene), scene.measured, cloud, loaded.beside)


def _anew(job: Job, name: str) -> Path:
    """Where a file goes; that of an earlier pass is removed."""
    path = job.folder / name
    path.unlink(missing_ok=True)
    return path


def _inner(job: Job, scene: Scene) -> np.ndarray:
    """The scene without its padding, [H, W, 9]."""
    height, width = scene.measured.shape
    above, _, left, _ = job.tiling.fitting((height, width)).padding
    return scene.image[0, above : above + height, left : left + width]


def _score(job: Job, file: DataFile, probability: np.ndarray, loaded: _Loaded) -> Scores:
    scene = loaded.scene
    assert scene.cloud is not None
    others, known = _of_others(job, file, scene.cloud.shape)
    if job.rule is not None:
        others[scoring.BASELINE] = job.rule.is_cloud(_inner(job, scene))
    return scoring.score(
        probability,
        job.config.inference.threshold,
        others,
        scene.cloud,
        scene.counted(job.config.data),
        scene.measured,
        loaded.beside,
        known,
    )


def _of_others(job: Job, file: DataFile, shape: tuple[int, ...]) -> tuple[dict, dict]:
    """The masks that others made of a scene, and of those that lack some pixels, the pixels that they have; by name."""
    paths = {name: masks.others.find(folder, file.path) for name, folder in job.other_masks.items()}
    found = {
        name: masks.others.read(path, shape, job.config.inference.threshold) for name, path in paths.items() if path
    }
    known = {name: mask.known for name, mask in found.items() if mask.known is not None}
    return {name: mask.cloud for name, mask in found.items()}, known

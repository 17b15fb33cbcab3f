"""Made-up scenes as files: of the benchmark's data set, small ones, or Sentinel-3 products."""

import sys
import time
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
from rich.progress import track

from cloudmask.sen3 import NIGHT_DEGREES, names
from cloudmask.sen3.writer import CONFIDENCE_ATTRIBUTES, IRRADIANCE, Frame, bits, sun_cosine, write_product
from cloudmask.tools.made_scenes import Scene, make_scene
from common.data import new_file
from common.data.files import make_folder
from common.runs.collection import filling


def _stamp(number: int, minutes: int = 0) -> str:
    """A scene's sensing time, 101 minutes after that of the one before it."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(1514764800 + 60 * (101 * number + minutes)))


def scene_name(seed: int, number: int) -> str:
    """As the archive's files are named: satellite, instrument, level, sensing time (the number as minutes of 2018)."""
    return f"S3A_SL_1_RBT____{_stamp(number)}_synthetic{seed:02d}_{number:05d}.hdf"


def product_name(seed: int, number: int) -> str:
    """Likewise, of a product: start, end and making, duration in seconds, cycle, orbit, frame, processing baseline."""
    times = f"{_stamp(number)}_{_stamp(number, 3)}_{_stamp(number, 1440)}"
    return f"S3A_SL_1_RBT____{times}_0179_{seed:03d}_{number % 385 + 1:03d}_0000_SYN_O_NT_005.SEN3"


def write_dataset(path: Path, scene: Scene) -> None:
    """The benchmark's own layout, 180 MB at full size: no data is 0, labels are 0 or 255; `truth` is ours.
    Raises UserError."""
    sun = sun_cosine(scene.sun)[..., np.newaxis]
    refs = np.nan_to_num(scene.refs.astype(np.float64), nan=0.0)
    with new_file.write_file(path) as file:
        file.create_dataset("bayes", data=np.where(scene.bayes > 0, 255.0, 0.0))
        file.create_dataset("bts", data=np.nan_to_num(scene.bts, nan=0.0))
        file.create_dataset("rads", data=(refs * sun * np.array(IRRADIANCE) / np.pi).astype(np.float32))
        file.create_dataset("refs", data=refs)
        file.create_dataset("summary", data=np.where(scene.summary, 255.0, 0.0)[..., np.newaxis])
        file.create_dataset("truth", data=scene.truth)
        file.attrs["source"] = _SOURCE


def write_small(path: Path, scene: Scene) -> None:
    """What is read of a scene, in the smallest types: float32 with NaN for no data, labels with all their bits, and
    the product's flags of surface and sun, by which scores are told apart."""
    with new_file.write_file(path) as file:
        file.create_dataset("refs", data=scene.refs)
        file.create_dataset("bts", data=scene.bts)
        file.create_dataset("bayes", data=scene.bayes)
        file.create_dataset("truth", data=scene.truth)
        file.create_dataset("confidence", data=_flags(scene)).attrs.update(CONFIDENCE_ATTRIBUTES)
        file.attrs["source"] = _SOURCE


def _flags(scene: Scene) -> np.ndarray:
    """confidence_in, [H, W] uint16."""
    sun = scene.sun
    day, twilight = sun < 80, (sun >= 80) & (sun < NIGHT_DEGREES)
    return bits(**scene.surface, day=day, twilight=twilight, summary_cloud=scene.summary)


def write_sen3(path: Path, scene: Scene) -> None:
    """A product, whose 0.5 km grid holds each pixel four times; `truth_in.nc` is ours."""
    refs = None if np.isnan(scene.refs).all() else scene.refs.repeat(2, 0).repeat(2, 1)
    labels, place = scene.bayes[..., 0], (scene.latitude, scene.longitude)
    write_product(path, Frame(refs, scene.bts, scene.zenith, labels, _flags(scene), *place, scene.truth[..., 0]))


class Form(NamedTuple):
    """folders: whether scenes go to day/ and night/, as the data set's."""

    name: Callable[[int, int], str]
    write: Callable[[Path, Scene], None]
    folders: bool


_SOURCE = "made up by cloudmask.synthesize; not a measurement"
FORMS = {
    "dataset": Form(scene_name, write_dataset, True),
    "small": Form(scene_name, write_small, False),
    "sen3": Form(product_name, write_sen3, False),
}


class Collection(NamedTuple):
    """Scenes to make.

    form: of FORMS. seed: scene n depends on (seed, n) only. label_error: share of the labels `bayes` that differ from
    `truth`, mostly where operational masks err; that a tenth does is an assumption. height, width: pixels of 1 km.
    """

    folder: str
    scenes: int = 16
    form: str = "dataset"
    seed: int = 0
    label_error: float = 0.1
    height: int = 1200
    width: int = 1500


def main(collection: Collection, *, exactly: bool = False) -> int:
    """Write the scenes; those that are there are kept, so that an interrupted call can be repeated.

    Args:
        collection: what to make.
        exactly: whether the folder may hold no other number of scenes.

    Returns:
        The exit code.

    Raises:
        UserError: if the folder holds scenes that were made otherwise, or a folder or a file cannot be written.
    """
    folder = Path(collection.folder).expanduser()
    recipe = {name: value for name, value in collection._asdict().items() if name not in ("folder", "scenes")}
    with filling(folder, recipe, collection.scenes, filled=_holds_scenes(folder), exactly=exactly):
        _make(collection, folder)
    return 0


def _holds_scenes(folder: Path) -> bool:
    places = (folder, folder / "day", folder / "night")
    patterns = [pattern for form in names.FORMS for pattern in form.patterns]
    return any(True for place in places for pattern in patterns for _ in place.glob(pattern))


def _make(collection: Collection, folder: Path) -> None:
    form = FORMS[collection.form]
    for place in (folder / "day", folder / "night") if form.folders else (folder,):
        make_folder(place)
    started, made = time.perf_counter(), 0
    size = collection.height, collection.width
    numbers = range(collection.scenes)
    for number in track(numbers, "scenes", transient=True) if sys.stdout.isatty() else numbers:
        name = form.name(collection.seed, number)
        if not any((place / name).exists() for place in (folder, folder / "day", folder / "night")):
            scene = make_scene(collection.seed, number, *size, collection.label_error)
            part = ("night" if scene.by_night else "day") if form.folders else ""
            form.write(folder / part / name, scene)
            made += 1
    seconds = time.perf_counter() - started
    kept = f", {collection.scenes - made} were there already" if made < collection.scenes else ""
    print(f"{made} scenes of {collection.height} x {collection.width} written to {folder} in {seconds:.1f} s{kept}")

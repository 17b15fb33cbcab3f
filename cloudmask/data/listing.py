"""Which scenes and products a folder holds, each acquisition once."""

from collections.abc import Iterable
from typing import Callable, Optional

from cloudmask.sen3 import names
from common import distributed
from common.data.files import DataFile, list_files
from common.errors import UserError


def on_root(line: str) -> None:
    """Print a line, on rank 0 alone."""
    if distributed.is_root():
        print(line, flush=True)


def list_scenes(folder: str, max_scenes: int = 0, tell: Callable[[str], object] = on_root) -> list[DataFile]:
    """The scenes and products at or below a folder, each acquisition once, sorted by name; the first `max_scenes`.

    folder: also one scene or product, or a file inside a product. tell: told in one line what is passed over.
    Collective; UserError if there are none.
    """
    scenes = newest(list_all(folder, tell), tell)
    return scenes[:max_scenes] if max_scenes else scenes


def list_all(
    folder: str, tell: Callable[[str], object] = on_root, refuse: Optional[Callable[[str], object]] = None
) -> list[DataFile]:
    """The same with acquisitions as often as they are there. refuse: told what is named like a scene and is none, and
    why; without it that is an error."""
    if not folder:
        raise UserError("data.train_dir is not set: the folder of scenes S3A*.hdf", on_all_ranks=True)
    return list_files(
        names.product_of(folder),
        *names.SCENE.patterns,
        *names.ARCHIVE.patterns,
        folders=names.FOLDERS,
        related=names.RELATED,
        tell=tell,
        refuse=refuse,
    )


def list_products(
    sources: list[str],
    tell: Callable[[str], object] = on_root,
    refuse: Optional[Callable[[str], object]] = None,
) -> list[DataFile]:
    """The products, without scenes, of several folders; the rest as `list_scenes` and `list_all`."""
    files = [
        file
        for source in sources
        for file in list_files(
            names.product_of(source),
            *names.ARCHIVE.patterns,
            folders=names.FOLDERS,
            related=names.RELATED,
            tell=tell,
            refuse=refuse,
        )
    ]
    return newest({file.path: file for file in files}.values(), tell)


def newest(files: Iterable[DataFile], tell: Callable[[str], object]) -> list[DataFile]:
    """Of each acquisition the file that was made last, in the order of `files`. An acquisition comes twice as soon as a
    product is made near real time and once more later, or by two processing baselines."""
    files = list(files)
    twins = twins_of(files)
    older = {file.path for group in twins for file in group[:-1]}
    if older:
        first = twins[0]
        tell(
            f"{len(older)} of {len(files)} left out: an acquisition that is there more than once is one sample, the "
            f"newest: such as {first[-1].name} rather than {first[0].name}"
        )
    return [file for file in files if file.path not in older]


def twins_of(files: Iterable[DataFile]) -> list[list[DataFile]]:
    """Those of one platform and start time, where there are several, the newest last."""
    groups: dict[names.Acquisition, list[DataFile]] = {}
    for file in files:
        acquisition = names.acquisition(file.path)
        if acquisition is not None:
            groups.setdefault(acquisition, []).append(file)
    return [sorted(group, key=lambda file: names.age(file.path)) for group in groups.values() if len(group) > 1]

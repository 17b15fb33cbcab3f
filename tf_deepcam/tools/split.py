"""Division of the files of one folder into train/, validation/ and test/, as the reference's split_data does.

The names are sorted and shuffled with NumPy's legacy generator, `numpy.random.RandomState(seed).shuffle`, so that a
seed gives the reference's split. The first two shares are rounded down, and the rest is for testing.
"""

import os
import shutil
from pathlib import Path

import numpy as np

from common.errors import UserError
from tf_deepcam.data.samples import PATTERN

PARTS = ("train", "validation", "test")


def split(names: list, fractions: tuple, seed: int) -> dict:
    """Divide file names among the parts.

    Args:
        names: in any order.
        fractions: of training, validation and test.
        seed: of the shuffling.

    Returns:
        {part: names}.

    Raises:
        UserError: if the fractions do not add up to 1.
    """
    if any(fraction < 0 for fraction in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(f"--fractions {' '.join(map(str, fractions))}: three shares that add up to 1 expected")
    shuffled = sorted(names)
    np.random.RandomState(seed).shuffle(shuffled)
    # The 1e-9 keeps 0.8 * 10 from being rounded down to 7.
    training, validation = (int(len(shuffled) * fraction + 1e-9) for fraction in fractions[:2])
    cuts = (0, training, training + validation, len(shuffled))
    return {part: shuffled[first:last] for part, first, last in zip(PARTS, cuts, cuts[1:])}


def main(source: str, target: str, fractions: tuple, seed: int, how: str) -> int:
    """Make train/, validation/ and test/ from one folder.

    Args:
        source: folder of data-*.h5.
        target: folder in which the parts are made.
        fractions: of training, validation and test.
        seed: of the shuffling.
        how: "symbolic" or "hard" links, or "copy".

    Returns:
        The exit code.

    Raises:
        UserError: before anything is written, if the source has no files, or another file has one of the names; or if
            a file cannot be made.
    """
    origin, root = Path(source).expanduser().resolve(), Path(target).expanduser()
    names = [path.name for path in origin.glob(PATTERN)] if origin.is_dir() else []
    if not names:
        raise UserError(f"{origin}: no file matches '{PATTERN}' in this folder")
    parts = split(names, fractions, seed)
    originals = {root / part / name: origin / name for part, chosen in parts.items() for name in chosen}  # by new path
    for path, original in originals.items():
        if os.path.lexists(path) and not (path.exists() and _same(path, original)):
            raise UserError(f"{path}: exists already and is another file; choose another --target")
    written = 0
    for path, original in originals.items():
        if not os.path.lexists(path):
            _link_or_copy(original, path, how)
            written += 1
    for part, chosen in parts.items():
        print(f"{part}: {len(chosen)} files")
    kept = f", {len(originals) - written} were there already" if written < len(originals) else ""
    print(f"{written} files placed in {root} ({how}, seed {seed}){kept}")
    return 0


def _same(path: Path, original: Path) -> bool:
    return path.samefile(original) or path.stat().st_size == original.stat().st_size


def _link_or_copy(original: Path, path: Path, how: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        if how == "symbolic":
            temporary.symlink_to(original)
        elif how == "hard":
            os.link(original, temporary)
        else:
            shutil.copyfile(original, temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        kind = "copy" if how == "copy" else f"{how} link"
        raise UserError(f"{path}: cannot be made as a {kind} of {original} ({error.strerror})") from error

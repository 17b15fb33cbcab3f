"""Shares the files of one folder out to train/, validation/ and test/, as the reference's split_data does.

The names are sorted and shuffled with NumPy's legacy generator, `numpy.random.RandomState(seed).shuffle`, so that a
seed gives the reference's split; then the first shares are cut off, rounded down, and the rest is for the test.
"""

import os
import shutil
from pathlib import Path

import numpy as np

from common.errors import UserError
from tf_deepcam.data.samples import PATTERN

PARTS = ("train", "validation", "test")


def split(names: list, fractions: tuple, seed: int) -> dict:
    """{part: names} of file names in any order. Raises UserError if the fractions are none."""
    if any(fraction < 0 for fraction in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(f"--fractions {' '.join(map(str, fractions))}: three shares that add up to 1 expected")
    shuffled = sorted(names)
    np.random.RandomState(seed).shuffle(shuffled)
    # The 1e-9 keeps 0.8 * 10 from being rounded down to 7.
    training, validation = (int(len(shuffled) * fraction + 1e-9) for fraction in fractions[:2])
    cuts = (0, training, training + validation, len(shuffled))
    return {part: shuffled[first:last] for part, first, last in zip(PARTS, cuts, cuts[1:])}


def main(source: str, target: str, fractions: tuple, seed: int, how: str) -> int:
    """how: symbolic or hard links, or copies. Nothing is written if one of the names is taken by another file."""
    origin, root = Path(source).expanduser().resolve(), Path(target).expanduser()
    names = [path.name for path in origin.glob(PATTERN)] if origin.is_dir() else []
    if not names:
        raise UserError(f"{origin}: no file matches '{PATTERN}' in this folder")
    parts = split(names, fractions, seed)
    wanted = {root / part / name: origin / name for part, chosen in parts.items() for name in chosen}
    for place, original in wanted.items():
        if os.path.lexists(place) and not (place.exists() and _same(place, original)):
            raise UserError(f"{place}: exists already and is another file; choose another --target")
    made = 0
    for place, original in wanted.items():
        if not os.path.lexists(place):
            _place(original, place, how)
            made += 1
    for part, chosen in parts.items():
        print(f"{part}: {len(chosen)} files")
    kept = f", {len(wanted) - made} were there already" if made < len(wanted) else ""
    print(f"{made} files placed below {root} ({how}, seed {seed}){kept}")
    return 0


def _same(place: Path, original: Path) -> bool:
    return place.samefile(original) or place.stat().st_size == original.stat().st_size


def _place(original: Path, place: Path, how: str) -> None:
    temporary = place.with_name(f".{place.name}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        if how == "symbolic":
            temporary.symlink_to(original)
        elif how == "hard":
            os.link(original, temporary)
        else:
            shutil.copyfile(original, temporary)
        os.replace(temporary, place)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{place}: cannot be made as {how} of {original} ({error.strerror})") from error

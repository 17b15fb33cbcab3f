"""A folder of files that a command makes by a recipe: one process fills it at a time, and recipes are not mixed.

made.json in the folder has the recipe and the number of files. It is written before the first file, so that an
interrupted command can be repeated, and says when all are there.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from common.data.files import make_folder
from common.errors import UserError
from common.runs import locks
from common.runs.files import write_text

MANIFEST = "made.json"


@contextlib.contextmanager
def filling(folder: Path, recipe: dict[str, Any], count: int, *, filled: bool, exactly: bool = False) -> Iterator[None]:
    """Allow this process, and no other, to make files in a folder.

    Args:
        folder: is created if it does not exist.
        recipe: what the files depend on, by name, as JSON.
        count: files to be there in the end.
        filled: whether files of this kind are there already.
        exactly: whether the folder may hold no other number of files, and none of an unknown recipe.

    Raises:
        UserError: if the folder holds files of another recipe, or cannot be written.
    """
    make_folder(folder)
    if _is_complete(folder, recipe, count, exactly):
        yield  # it need not be writable
        return
    wait = lambda: print(f"{folder}: waiting for another process that fills this folder", flush=True)  # noqa: E731
    with locks.lock(folder, wait=wait):
        manifest = _compared(folder, recipe, count, exactly)
        if manifest is None and filled:
            if exactly:
                raise UserError(f"{folder}: holds files, but no {MANIFEST} that says how they were made; {_OTHER}")
            print(f"{folder}: there is no {MANIFEST} that says how its files were made; they are kept", flush=True)
            yield
            return
        count = max(count, manifest["count"]) if manifest else count
        content = {**recipe, "count": count}
        _write(folder, {**content, "complete": False})
        yield
        _write(folder, {**content, "complete": True})


_OTHER = "choose another folder, or move them away"


def _write(folder: Path, content: dict[str, Any]) -> None:
    write_text(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def _is_complete(folder: Path, recipe: dict[str, Any], count: int, exactly: bool) -> bool:
    manifest = _compared(folder, recipe, count, exactly)
    return manifest is not None and manifest.get("complete") is True and manifest["count"] >= count


def _compared(folder: Path, recipe: dict[str, Any], count: int, exactly: bool) -> Optional[dict[str, Any]]:
    """The manifest, None if there is none. Raises UserError if it is of another recipe."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        there = {name: manifest[name] for name in (*recipe, "count")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as what made the files beside it ({error}); {_OTHER}") from error
    if not isinstance(there["count"], int):
        raise UserError(f"{path}: has no number of files; {_OTHER}")
    wanted = {**recipe, "count": count if exactly else there["count"]}
    for name, value in wanted.items():
        if there[name] != value:
            raise UserError(f"{folder}: holds files made with {name} {there[name]}, but {value} is requested; {_OTHER}")
    return manifest

"""Creation of a run's folder: it appears with its first files in it, and its name is taken once.

Until the run's timed part begins, the folder says so by a file. If the start was killed before, it has made nothing of
use, and the next run of that name moves the folder aside.
"""

import secrets
import shutil
import time
from pathlib import Path

from common.errors import UserError, storage_problem
from common.runs import locks
from common.runs.files import move_aside, renamed
from common.runs.records import append

STARTING = ".starting"


def create(parent: Path, name: str, settings: str, start: dict) -> tuple[Path, locks.Lock]:
    """Create a run folder with config.yaml and environment.jsonl.

    Args:
        parent: folder to create it in.
        name: the run's name; empty for one of date and time.
        settings: the content of config.yaml.
        start: the first line of environment.jsonl.

    Returns:
        The folder, and its lock.

    Raises:
        UserError: if the name is taken, or the folder cannot be written.
    """
    temporary = parent / f".{(name or 'run')[:50]}.{secrets.token_hex(4)}.tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    except FileExistsError:
        raise UserError(
            f"{parent}: is a file, so no run folder can be created in it; choose another output.folder"
        ) from None
    except OSError as error:
        raise UserError(f"{error.filename}: the run folder cannot be created ({error.strerror})") from error
    try:
        lock = locks.lock(temporary)
        (temporary / STARTING).touch()
        (temporary / "config.yaml").write_text(settings, encoding="utf-8")
        append(temporary / "environment.jsonl", start)
        return _give_name(temporary, parent, name), lock
    except OSError as error:
        raise UserError(f"{parent}: the run folder cannot be written ({storage_problem(error, parent)})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # if it still has this name


def begin(folder: Path) -> None:
    """Note that a run's timed part begins. Raises UserError if the folder cannot be written."""
    try:
        (folder / STARTING).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: the run folder cannot be written ({error.strerror})") from error


def _give_name(temporary: Path, parent: Path, name: str) -> Path:
    """Rename a new run folder to a name that is free. Raises UserError if there is none."""
    if name:
        _move_killed_start(parent / name)
    stem, number = name or time.strftime("%Y%m%d-%H%M%S"), 1
    while True:
        path = parent / (stem if number == 1 else f"{stem}-{number}")
        if renamed(temporary, path):
            return path
        if name:
            raise UserError(
                f"{path}: exists already and is left as it is; choose another output.run_name, or resume that run "
                "with --resume"
            )
        number += 1


def _move_killed_start(path: Path) -> None:
    """Move a run folder aside whose start was killed before the timed part. Raises UserError if it is still alive."""
    if (path / STARTING).is_file() and not any(path.glob("checkpoints/step-*")):
        aside = move_aside(path)
        print(f"{path}: was left by a start that was killed before its timed part; moved to {aside}", flush=True)

"""Output files that users name: checked before a run, delivered after it, and never overwritten."""

import os
import shutil
import tempfile
from pathlib import Path

from common.errors import UserError, storage_problem


def move_aside(path: Path) -> None:
    """Rename an existing file or folder to the first of NAME.1, NAME.2, ... that is free."""
    if path.exists():
        number = 1
        while (free_path := path.with_name(f"{path.name}.{number}")).exists():
            number += 1
        os.replace(path, free_path)


def check_writable(*paths: Path) -> None:
    """Raise UserError if no file could be written at one of `paths`, before a run spends hours on its content."""
    for path in paths:
        folder = path.expanduser().absolute().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}): choose another path") from error


def deliver(source: Path, target: Path) -> None:
    """Copy a file or folder of the run to `target` too; one that exists there is moved aside.

    Raises:
        UserError: if it cannot be written.
    """
    target = target.expanduser()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        move_aside(target)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({storage_problem(error, target.parent)})") from error

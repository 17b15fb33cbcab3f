"""Files that users name: checked before a run, delivered after it, and never written over."""

import os
import shutil
import tempfile
from pathlib import Path

from common.errors import UserError, storage_problem


def move_aside(path: Path) -> None:
    """Rename a file or folder that is there to the first free of NAME.1, NAME.2 ..."""
    if path.exists():
        number = 1
        while (aside := path.with_name(f"{path.name}.{number}")).exists():
            number += 1
        os.replace(path, aside)


def check_writable(*paths: Path) -> None:
    """Raise UserError now if a file could not be written at one of `paths` hours later."""
    for path in paths:
        folder = path.expanduser().absolute().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}): choose another place") from error


def deliver(source: Path, target: Path) -> None:
    """Copy a file of the run to where the user wants it as well; a file that is there already is moved aside."""
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

"""Output files: checked before a run, written whole or not at all, and never over another.

A file or folder is made under a hidden name beside its own, and renamed when it is complete: what existed stays until
then, and no reader sees half of it.
"""

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from common.errors import UserError, storage_error, storage_problem
from common.runs import locks

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)  # something has the name
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # of a file system without hard links


@contextlib.contextmanager
def whole(path: Path, *, keep_old: bool = False) -> Iterator[Path]:
    """Give a path to write to, with the same name; what is there when the block ends takes the place of `path`.

    Args:
        path: the file or folder to write; the folder that it is in is created.
        keep_old: whether one that exists is moved aside, and not replaced.

    Raises:
        UserError: if it cannot be written; `path` is as it was then.
    """
    folder = None
    try:
        path.parent.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:50]}.", suffix=".tmp", dir=path.parent))
        yield folder / path.name
        _put(folder / path.name, path, keep_old)
    except UserError:
        raise
    except Exception as error:
        cause = storage_error(error)
        if cause is None:
            raise
        raise UserError(f"{path}: cannot be written ({storage_problem(cause, path.parent)})") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _put(new: Path, path: Path, keep_old: bool) -> None:
    if keep_old:
        while not renamed(new, path):
            move_aside(path)
        return
    if path.is_dir() and not path.is_symlink():  # a folder cannot be replaced in one step
        os.replace(path, new.with_name(f"{new.name}.old"))
    os.replace(new, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, in place of one that exists. Raises UserError."""
    with whole(path) as file:
        file.write_text(text, encoding="utf-8")


class Lines:
    """A file that grows by lines: each is written as a whole or not at all, on a line of its own after a torn one."""

    def __init__(self, path: Path):
        """Open the file, or create it. Raises UserError if it cannot be written."""
        self._path = path
        try:
            self._file = open(path, "ab+", buffering=0)  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise self._problem(error) from error

    def append(self, line: bytes) -> None:
        """Append a line. Raises UserError if it cannot be written."""
        try:
            size = self._file.seek(0, os.SEEK_END)
            self._file.seek(max(size - 1, 0))
            torn = size > 0 and self._file.read(1) != b"\n"
            self._write((b"\n" if torn else b"") + line + b"\n", size)
        except OSError as error:
            raise self._problem(error) from error

    def _write(self, content: bytes, size: int) -> None:
        """Write at the end of the file, which has `size` bytes, or leave it at that size."""
        try:
            while content:
                content = content[os.write(self._file.fileno(), content) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(size)
            raise

    def _problem(self, error: OSError) -> UserError:
        return UserError(f"{self._path}: cannot be written ({storage_problem(error, self._path.parent)})")

    def close(self) -> None:
        self._file.close()


def append(path: Path, line: bytes) -> None:
    """Append a line to a file, as `Lines` does. Raises UserError if it cannot be written."""
    with contextlib.closing(Lines(path)) as lines:
        lines.append(line)


def move_aside(path: Path) -> Optional[Path]:
    """Rename an existing file or folder to the first of NAME.1, NAME.2, ... that is free.

    Returns:
        Its new path; None if there was nothing.

    Raises:
        UserError: if it is a run folder in which a process is running.
    """
    try:
        if path.is_dir() and (path / locks.FILE).is_file():
            with locks.lock(path, sure=True):
                return _rename_to_free(path)
        return _rename_to_free(path) if os.path.lexists(path) else None
    except FileNotFoundError:  # another process was faster
        return None


def _rename_to_free(path: Path) -> Path:
    source, number = path, 1
    if not path.is_dir():  # one process takes it, under a name that no other uses
        source = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.tmp")
        os.rename(path, source)
    while not renamed(source, target := path.with_name(f"{path.name}.{number}")):
        number += 1
    return target


def renamed(path: Path, target: Path) -> bool:
    """Rename a file, or a folder that is not empty, unless something has the name, even if it appears at this moment.

    Returns:
        Whether it was renamed.
    """
    if os.path.lexists(target):
        return False
    try:
        if path.is_dir():
            os.rename(path, target)  # refuses a folder that is not empty
        else:
            os.link(path, target, follow_symlinks=False)
            os.unlink(path)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno not in _NO_LINKS or path.is_dir():
            raise
        os.rename(path, target)
    return True


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
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({storage_problem(error, target.parent)})") from error
    with whole(target, keep_old=True) as copy:
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copyfile(source, copy)

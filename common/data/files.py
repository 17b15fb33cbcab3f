"""The files of a data set: listed once by rank 0, and watched for changes during a run."""

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from common import distributed
from common.errors import UserError


@dataclass(frozen=True)
class DataFile:
    """A file as it was when the run began, so that a change in the middle is noticed."""

    path: str
    bytes: int
    modified_ns: int

    @property
    def name(self) -> str:
        return Path(self.path).name

    def check(self) -> None:
        """Raises UserError if the file is not as it was."""
        try:
            now = os.stat(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: vanished during the run ({error.strerror})") from error
        if (now.st_size, now.st_mtime_ns) != (self.bytes, self.modified_ns):
            raise UserError(f"{self.path}: changed during the run ({self.bytes} bytes at the start, {now.st_size} now)")


def list_files(folder: str, pattern: str) -> list[DataFile]:
    """The files below `folder` (any depth) that match `pattern`, sorted by name. Rank 0 looks, all receive.

    Raises UserError on every rank if the folder is missing, nothing matches, what matches is not a regular file,
    or two files have one name.
    """

    def look() -> list[DataFile]:
        root = Path(folder).expanduser()
        try:
            if not root.is_dir():
                raise UserError(f"{root}: no such folder")
            paths = sorted(root.rglob(pattern), key=lambda path: (path.name, str(path)))
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise UserError(f"{str(root)!r:.200}: cannot be searched ({error})") from error
        if not paths:
            raise UserError(f"{root}: no file matches '{pattern}' in this folder or below it")
        for earlier, later in zip(paths, paths[1:]):
            if earlier.name == later.name:
                raise UserError(f"{later}: has the same name as {earlier}: names of samples must differ")
        return [_examine(path) for path in paths]

    files = distributed.on_root(look)
    distributed.raise_together(_seen_otherwise(files))
    return files


def _examine(path: Path) -> DataFile:
    try:
        str(path).encode("utf-8")
        found = path.stat()
    except UnicodeEncodeError:
        raise UserError(f"{os.fsencode(path)!r}: has a name that is not UTF-8; rename it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be looked at ({error.strerror}); is it a link to nothing?") from error
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path}: is named like a sample but is not a regular file; move it away")
    return DataFile(str(path), found.st_size, found.st_mtime_ns)


def _seen_otherwise(files: list[DataFile]) -> Optional[UserError]:
    """Whether this rank sees the first, middle and last file as rank 0 does."""
    for file in {files[0], files[len(files) // 2], files[-1]}:
        try:
            now: object = os.stat(file.path).st_size
        except OSError as error:
            now = error.strerror
        if now != file.bytes:
            return UserError(
                f"{file.path}: rank 0 sees {file.bytes} bytes, rank {distributed.rank()} on {socket.gethostname()} "
                f"{now}: the data must lie where all nodes see the same"
            )
    return None

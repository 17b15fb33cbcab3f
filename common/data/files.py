"""The files of a data set: listed once by rank 0, and watched for changes during a run.

A sample may also be a folder of files, as satellite products are: its size is that of its files together, its time that
of the newest.
"""

import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Callable, NamedTuple, Optional

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
            size, modified_ns = _state(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: vanished during the run ({error.strerror})") from error
        if (size, modified_ns) != (self.bytes, self.modified_ns):
            raise UserError(f"{self.path}: changed during the run ({self.bytes} bytes at the start, {size} now)")


def _state(path: str) -> tuple[int, int]:
    """Bytes, and time of the last change in nanoseconds, of a file, or of a folder's files taken together."""
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size, found.st_mtime_ns
    inside = [os.stat(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names]
    return sum(each.st_size for each in inside), max((each.st_mtime_ns for each in inside), default=0)


def make_folder(path: Path) -> None:
    """A folder and those above it, where they are not there yet. Raises UserError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made ({error.strerror})") from error


def list_files(
    folder: str,
    *patterns: str,
    folders: Sequence[str] = (),
    related: Sequence[str] = (),
    tell: Callable[[str], object] = print,
) -> list[DataFile]:
    """The files below `folder` (any depth) whose names match one of `patterns`, and the folders that match one of
    `folders`, sorted by name. `folder` may also be such a sample itself. Rank 0 looks, all receive.

    related: patterns of what is not taken but could be meant; rank 0 says in one line, to `tell`, that it was passed
    over. Raises UserError on every rank if the folder is missing, nothing matches, what matches a pattern is not a
    regular file (for `folders`: a folder), or two samples have one name.
    """

    def look() -> list[DataFile]:
        root = Path(folder).expanduser()
        try:
            listing = _matching(root, patterns, folders, related)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise UserError(f"{str(root)!r:.200}: cannot be searched ({error})") from error
        paths = sorted(listing.samples, key=lambda path: (path.name, str(path)))
        passed_over = _in_words(root, listing.passed_over)
        if not paths:
            known = " or ".join(f"'{pattern}'" for pattern in (*patterns, *folders))
            raise UserError(
                f"{root}: no file matches {known} in this folder or below it{passed_over and '; '}{passed_over}"
            )
        if passed_over:
            tell(f"{root}: {passed_over}")
        for earlier, later in zip(paths, paths[1:]):
            if earlier.name == later.name:
                raise UserError(f"{later}: has the same name as {earlier}: names of samples must differ")
        return [_examine(path, folder_expected=_matches(path.name, folders)) for path in paths]

    files = distributed.on_root(look)
    distributed.raise_together(_seen_otherwise(files))
    return files


class _Listing(NamedTuple):
    samples: list[Path]
    passed_over: list[Path]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, each) for each in patterns)


def _matching(root: Path, patterns: Sequence[str], folders: Sequence[str], related: Sequence[str]) -> _Listing:
    """Samples at or below `root`; what lies inside a sample that is a folder is part of it."""
    if (root.is_file() and _matches(root.name, patterns)) or (root.is_dir() and _matches(root.name, folders)):
        return _Listing([root], [])
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    samples, passed_over = [], []
    for above, inner, files in os.walk(root):
        for name in sorted(inner) + sorted(files):
            if _matches(name, (*patterns, *folders)):
                samples.append(Path(above, name))
            elif _matches(name, related):
                passed_over.append(Path(above, name))
        inner[:] = [name for name in inner if not _matches(name, (*folders, *related))]
    return _Listing(samples, passed_over)


def _in_words(root: Path, passed_over: list[Path]) -> str:
    """Empty if there is none."""
    if not passed_over:
        return ""
    more = f" and {len(passed_over) - 1} more" if len(passed_over) > 1 else ""
    verb = "are" if more else "is"
    return f"passed over {passed_over[0].relative_to(root)}{more}, which {verb} not of this kind"


def _examine(path: Path, folder_expected: bool) -> DataFile:
    try:
        str(path).encode("utf-8")
        found = path.stat()
        size, modified_ns = _state(str(path))
    except UnicodeEncodeError:
        raise UserError(f"{os.fsencode(path)!r}: has a name that is not UTF-8; rename it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be looked at ({error.strerror}); is it a link to nothing?") from error
    if folder_expected and not stat.S_ISDIR(found.st_mode):
        raise UserError(f"{path}: is named like a product but is not a folder; unpack it, or move it away")
    if not folder_expected and not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path}: is named like a sample but is not a regular file; move it away")
    return DataFile(str(path), size, modified_ns)


def _seen_otherwise(files: list[DataFile]) -> Optional[UserError]:
    """Whether this rank sees the first, middle and last file as rank 0 does."""
    for file in {files[0], files[len(files) // 2], files[-1]}:
        try:
            now: object = _state(file.path)[0]
        except OSError as error:
            now = error.strerror
        if now != file.bytes:
            return UserError(
                f"{file.path}: rank 0 sees {file.bytes} bytes, rank {distributed.rank()} on {socket.gethostname()} "
                f"{now}: the data must lie where all nodes see the same"
            )
    return None

"""The files of a data set: rank 0 lists them once, and changes during a run are detected.

A sample may also be a folder of files, as satellite products are. Its size is the sum of its files' sizes, its time the
newest of theirs.
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
    """A file as it was when the run began, so that a later change is detected."""

    path: str
    bytes: int
    modified_ns: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return Path(self.path).name

    def check(self) -> None:
        """Raise UserError if the file has changed or vanished since the run began."""
        try:
            size, modified_ns = _state(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: vanished during the run ({error.strerror})") from error
        if (size, modified_ns) != (self.bytes, self.modified_ns):
            raise UserError(f"{self.path}: changed during the run ({self.bytes} bytes at the start, {size} now)")


def _state(path: str) -> tuple[int, int]:
    """Return bytes and time of the last change (nanoseconds) of a file, or of all files in a folder."""
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size, status.st_mtime_ns
    walk = os.walk(path, onerror=_raise)
    inside = [os.stat(os.path.join(folder, name)) for folder, _, names in walk for name in names]
    return sum(each.st_size for each in inside), max((each.st_mtime_ns for each in inside), default=0)


def _raise(error: OSError) -> None:
    raise error


def make_folder(path: Path) -> None:
    """Create a folder and those above it, unless they exist. Raises UserError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be created ({error.strerror})") from error


def list_files(
    folder: str,
    *patterns: str,
    folders: Sequence[str] = (),
    related: Sequence[str] = (),
    tell: Callable[[str], object] = print,
    refuse: Optional[Callable[[str], object]] = None,
) -> list[DataFile]:
    """List a data set's samples, at any depth below a folder. A collective call: rank 0 searches, all receive.

    Args:
        folder: the folder to search; it may also be a sample itself.
        *patterns: shell patterns of the names of samples that are files.
        folders: patterns of the names of samples that are folders.
        related: patterns of names that are not samples but that a user might take for some; if there are any, one line
            says that they were passed over.
        tell: function that prints this line, called on rank 0.
        refuse: function that is told, on rank 0, in one line why a match is no sample; it is left out. Without it such
            a match is an error.

    Returns:
        The samples, sorted by name.

    Raises:
        UserError: on every rank, if the folder is missing, nothing matches, a match is not a regular file (for
            `folders`: not a folder), two samples have the same name, or this rank sees other files than rank 0.
    """

    def search() -> list[DataFile]:
        root = Path(folder).expanduser()
        try:
            listing = _matching(root, patterns, folders, related)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise UserError(f"{str(root)!r:.200}: cannot be searched ({error})") from error
        paths = sorted(listing.samples, key=lambda path: (path.name, str(path)))
        passed_over = _in_words(root, listing.passed_over)
        if not paths:
            expected = " or ".join(f"'{pattern}'" for pattern in (*patterns, *folders))
            raise UserError(
                f"{root}: no file matches {expected} in this folder or below it{passed_over and '; '}{passed_over}"
            )
        if passed_over:
            tell(f"{root}: {passed_over}")
        return _examined(paths, folders, refuse)

    files = distributed.on_root(search)
    distributed.raise_together(_difference_to_rank_0(files) if files else None)
    return files


class _Listing(NamedTuple):
    samples: list[Path]
    passed_over: list[Path]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, each) for each in patterns)


def _matching(root: Path, patterns: Sequence[str], folders: Sequence[str], related: Sequence[str]) -> _Listing:
    """Find the samples at or below `root`. A sample that is a folder is not searched for further samples."""
    if (root.is_file() and _matches(root.name, (*patterns, *folders))) or (
        root.is_dir() and _matches(root.name, folders)
    ):
        return _Listing([root], [])
    if root.is_file():
        raise UserError(f"{root}: is a file of another name than {' or '.join((*patterns, *folders))}")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    samples, passed_over = [], []
    unread: list[OSError] = []
    for above, inner, files in os.walk(root, onerror=unread.append):
        for name in sorted(inner) + sorted(files):
            if _matches(name, (*patterns, *folders)):
                samples.append(Path(above, name))
            elif _matches(name, related):
                passed_over.append(Path(above, name))
        inner[:] = [name for name in inner if not _matches(name, (*folders, *related))]
    if unread:  # what lies there would be missing without a word
        names = ", ".join(str(error.filename) for error in unread[:3]) + (" ..." if len(unread) > 3 else "")
        raise UserError(
            f"{root}: {len(unread)} folders in it cannot be read ({unread[0].strerror}): {names}: allow it, or move "
            "them away"
        )
    return _Listing(samples, passed_over)


def _in_words(root: Path, passed_over: list[Path]) -> str:
    """Return a sentence's part that names the paths passed over; empty if there are none."""
    if not passed_over:
        return ""
    more = f" and {len(passed_over) - 1} more" if len(passed_over) > 1 else ""
    verb = "are" if more else "is"
    return f"passed over {passed_over[0].relative_to(root)}{more}, which {verb} not of this kind"


def _examined(paths: list[Path], folders: Sequence[str], refuse: Optional[Callable[[str], object]]) -> list[DataFile]:
    """Return the samples at these paths, which are sorted by name. Raises UserError if there is none to `refuse`."""
    samples: list[DataFile] = []
    for path in paths:
        try:
            if samples and samples[-1].name == path.name:
                raise UserError(f"{path}: has the same name as {samples[-1].path}: names of samples must differ")
            samples.append(_examine(path, folder_expected=_matches(path.name, folders)))
        except UserError as error:
            if refuse is None:
                raise
            refuse(str(error))
    return samples


def _examine(path: Path, folder_expected: bool) -> DataFile:
    """Return a sample's size and time. Raises UserError if it is not what its name promises."""
    try:
        str(path).encode("utf-8")
        status = path.stat()
        size, modified_ns = _state(str(path))
    except UnicodeEncodeError:
        raise UserError(f"{os.fsencode(path)!r}: has a name that is not UTF-8; rename it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be examined ({error.strerror}); is it a dangling link?") from error
    if folder_expected and not stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path}: is named like a product but is not a folder; unpack it, or move it away")
    if not folder_expected and not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: is named like a sample but is not a regular file; move it away")
    return DataFile(str(path), size, modified_ns)


def _difference_to_rank_0(files: list[DataFile]) -> Optional[UserError]:
    """Return an error if this rank sees the first, middle or last file with another size than rank 0."""
    for file in {files[0], files[len(files) // 2], files[-1]}:
        try:
            seen_here: object = _state(file.path)[0]
        except OSError as error:
            seen_here = error.strerror
        if seen_here != file.bytes:
            return UserError(
                f"{file.path}: rank 0 sees {file.bytes} bytes, rank {distributed.rank()} on {socket.gethostname()} "
                f"{seen_here}: the data must be on a file system that all nodes share"
            )
    return None

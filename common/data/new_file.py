"""Writing of new files, which have their name only when they are complete."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Union

import h5py

from common.errors import UserError, storage_error, storage_problem


@contextlib.contextmanager
def write_file(path: Union[str, Path], opener: Callable[..., Any] = h5py.File) -> Iterator[Any]:
    """Write a new HDF5 file under a temporary name; it gets its own name when it is complete.

    The file is not locked: it has one writer, and there are parallel file systems without locks.

    Args:
        path: the new file's path.
        opener: opens the file that the block writes to, as h5py.File or h5netcdf.File.

    Raises:
        UserError: if the file already exists or cannot be written.
    """
    with _complete(Path(path)) as temporary, opener(temporary, "w", locking=False) as file:
        yield file


def write_bytes(path: Union[str, Path], content: bytes) -> None:
    """Write a new file of any kind in the same way. Raises UserError as `write_file`."""
    with _complete(Path(path)) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def _complete(path: Path) -> Iterator[Path]:
    """The temporary name under which the block writes a file, which then gets its own."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if path.exists():
        raise UserError(f"{path}: exists already and is left as it is; choose another folder")
    try:
        yield temporary
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        cause = storage_error(error)
        if cause is None:
            raise
        raise UserError(f"{path}: cannot be written ({storage_problem(cause, path.parent)})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)

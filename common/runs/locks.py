"""Locks of folders: one process at a time works in a run's folder, or in one that several commands may fill.

The system releases a lock however its process ends. Some parallel file systems have no locks; there the lock's file,
which names its holder, tells whether that is alive, but only on the holder's own host.
"""

import fcntl
import os
import socket
from pathlib import Path
from typing import Callable, Optional

import psutil

from common.errors import UserError

FILE = ".lock"
_RUNNING = "another process is running in this folder; wait for it, or stop it"


class Lock:
    """A lock that is held, as a context manager that releases it."""

    def __init__(self, descriptor: int):
        """Wrap the descriptor of a locked file."""
        self._descriptor: Optional[int] = descriptor

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go of the lock; the file no longer names this process."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            _name_holder(descriptor, "")
            os.close(descriptor)


def lock(
    folder: Path,
    *,
    file: str = FILE,
    busy: str = _RUNNING,
    wait: Optional[Callable[[], object]] = None,
    sure: bool = False,
) -> Lock:
    """Lock a folder.

    Args:
        folder: an existing folder.
        file: name of the lock's file in it.
        busy: what to say if another process holds it.
        wait: called before waiting for the other process, instead of an error.
        sure: whether to refuse, too, where there are no locks and the last holder may be alive on another host.

    Raises:
        UserError: if another process holds it, or the file cannot be written.
    """
    while True:
        descriptor = _open(folder / file)
        try:
            locked = _flock(descriptor, wait)
            if locked is False:
                raise UserError(f"{folder}: {busy}")
            if locked is None:
                _check_holder(descriptor, folder / file, busy, sure)
            if _is(descriptor, folder / file):  # and not a folder that was moved meanwhile
                _name_holder(descriptor, f"{socket.gethostname()} {os.getpid()} {_began(os.getpid())}")
                return Lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"{path.parent}: the folder cannot be written ({error.strerror})") from error


def _flock(descriptor: int, wait: Optional[Callable[[], object]]) -> Optional[bool]:
    """Whether the lock is now held by this process; None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if wait is None:
            return False
        wait()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return None
    return True


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _name_holder(descriptor: int, text: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError:
        pass  # a full disk: the lock itself holds


def _check_holder(descriptor: int, path: Path, busy: str, sure: bool) -> None:
    """Raise UserError if the holder that the file names is alive, or may be, where there are no locks."""
    host, _, process = os.pread(descriptor, 1000, 0).decode("utf-8", "replace").partition(" ")
    number, _, began = process.partition(" ")
    if host == socket.gethostname():
        if began and number.isdigit() and int(number) != os.getpid() and _began(int(number)) == began:
            raise UserError(f"{path.parent}: {busy}")
    elif host and sure:
        raise UserError(
            f"{path.parent}: a process on {host[:100]} may be running in this folder, on a file system without locks; "
            f"if it has ended, remove {path}"
        )


def _began(process: int) -> str:
    """When a process began, which tells it from a later one of the same number; empty if there is none."""
    try:
        return f"{psutil.Process(process).create_time():.2f}"
    except psutil.Error:
        return ""

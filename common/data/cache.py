"""Decoded files kept in memory or on a node-local disk, each read once.

The disk cache lies in a folder that only this user can enter: what another user planted there is never read. An
entry's name is a checksum of everything that it depends on, and it takes its name when it is whole.
"""

import hashlib
import os
import shutil
import stat
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Literal, Optional

import numpy as np
from pydantic import Field

from common import distributed
from common.config.settings import Settings
from common.data import npy
from common.data.files import DataFile
from common.errors import UserError, storage_problem

Arrays = tuple[np.ndarray, ...]  # each [samples, ...]


class CacheSettings(Settings):
    cache: Literal["none", "memory", "disk"] = Field(
        "none",
        description="where decoded samples stay after their first use: none | memory | disk; each rank its own share",
    )
    cache_dir: str = Field(
        "",
        description="disk cache: a node-local folder with room for this node's share; empty is TMPDIR",
    )
    shuffle_files: int = Field(
        8, gt=0, description="files whose samples are mixed, twice as many are held in memory; cache: memory mixes all"
    )


class FileCache:
    """Decoded files by path. Each is read once, in one of `threads`, when it is first requested."""

    def __init__(
        self,
        read: Callable[[str], Arrays],
        keep: Optional[int] = None,
        disk: Optional["DiskCache"] = None,
        threads: Optional[ThreadPoolExecutor] = None,
    ):
        """keep: most recently used files held in memory, None for all. disk: where decoded arrays are kept besides."""
        self._read, self._keep, self._disk = read, keep, disk
        self._entries: OrderedDict[str, Future] = OrderedDict()
        self._lock = threading.Lock()
        self._threads = threads or ThreadPoolExecutor(2, thread_name_prefix="read")

    def request(self, file: DataFile) -> Future:
        """Begin to read a file unless it is there or on its way; does not wait."""
        with self._lock:
            future = self._entries.get(file.path)
            # A read that failed is tried again: a file system may have recovered.
            if future is None or (future.done() and future.exception() is not None):
                future = self._entries[file.path] = self._threads.submit(self._load, file)
            self._entries.move_to_end(file.path)
            while self._keep is not None and len(self._entries) > self._keep:
                self._entries.popitem(last=False)
        return future

    def get(self, file: DataFile) -> Arrays:
        """A file's arrays, read now if they are not there. Raises what reading raised."""
        return self.request(file).result()

    def _load(self, file: DataFile) -> Arrays:
        file.check()
        if self._disk is None:
            return self._read(file.path)
        arrays = self._disk.load(file)
        if arrays is None:
            self._disk.store(file, self._read(file.path))
            arrays = self._disk.load(file)
        if arrays is None:
            raise UserError(f"{self._disk.folder}: the disk cache's entry of {file.path} vanished; clear the folder")
        return arrays


class DiskCache:
    """Arrays of decoded files in a private folder."""

    def __init__(self, parent: str, recipe: str):
        """parent: empty is TMPDIR. recipe: of everything besides the file that its decoded arrays depend on.

        Raises UserError if the folder cannot be made, or is somebody else's.
        """
        self.folder = Path(parent or tempfile.gettempdir()).expanduser() / f"samples-{os.getuid()}"
        self._recipe = recipe
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.folder.lstat()
        except OSError as error:
            raise UserError(f"{self.folder}: the disk cache cannot be made ({error.strerror})") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise UserError(
                f"{self.folder}: is not a folder that only this user can enter, so what lies in it is not trusted: "
                "remove it, or choose another data.cache_dir"
            )

    def _place(self, file: DataFile) -> Path:
        text = f"{os.path.realpath(file.path)} {file.bytes} {file.modified_ns} {self._recipe}"
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:32]

    def load(self, file: DataFile) -> Optional[Arrays]:
        """The file's arrays, mapped into memory; None if they are not there, or not whole."""
        arrays = []
        for name in sorted(self._place(file).glob("*.npy")):
            try:
                with npy.open_array(name) as array:
                    arrays.append(array.map())
            except (UserError, OSError, ValueError):
                return None
        return tuple(arrays) or None

    def store(self, file: DataFile, arrays: Arrays) -> None:
        """Keep a file's arrays. Raises UserError, naming the bytes, if there is no room."""
        place = self._place(file)
        temporary = place.with_name(f".{place.name}.{os.getpid()}.{distributed.rank()}.tmp")
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(mode=0o700)
            for number, array in enumerate(arrays):
                np.save(temporary / f"{number:02d}.npy", array)
            shutil.rmtree(place, ignore_errors=True)  # a torn one
            os.replace(temporary, place)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if place.is_dir():
                return  # another rank was quicker
            problem = storage_problem(error, self.folder, sum(array.nbytes for array in arrays))
            raise UserError(
                f"{self.folder}: the disk cache cannot be written ({problem}): choose another data.cache_dir, or "
                "data.cache: none"
            ) from error

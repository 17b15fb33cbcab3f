"""Caches of decoded files, in memory or on a node-local disk; each file is read once.

The disk cache is in a folder that only this user can enter, so nothing that another user put there is read. An entry's
name is a checksum of everything that it depends on, and an entry gets its name only when it is complete.
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
    """Settings of caching and shuffling."""

    cache: Literal["none", "memory", "disk"] = Field(
        "none",
        description="where each rank keeps its share's decoded samples after their first use: none | memory | disk",
    )
    cache_dir: str = Field(
        "",
        description="disk cache: a node-local folder with room for this node's share; empty is TMPDIR",
    )
    shuffle_files: int = Field(
        8, gt=0, description="files whose samples are mixed; memory holds twice as many; cache: memory mixes all files"
    )


class FileCache:
    """Decoded files by path, each read once, by one of `threads`, when it is first requested."""

    def __init__(
        self,
        read: Callable[[str], Arrays],
        keep: Optional[int] = None,
        disk: Optional["DiskCache"] = None,
        threads: Optional[ThreadPoolExecutor] = None,
    ):
        """Create an empty cache.

        Args:
            read: decodes the file at a path.
            keep: number of files held in memory, the most recently used ones; None for all.
            disk: where decoded arrays are kept as well.
            threads: pool that reads the files; by default one of two threads.
        """
        self._read, self._keep, self._disk = read, keep, disk
        self._entries: OrderedDict[str, Future] = OrderedDict()
        self._lock = threading.Lock()
        self._threads = threads or ThreadPoolExecutor(2, thread_name_prefix="read")

    def request(self, file: DataFile) -> Future:
        """Start to read a file unless it is in the cache or being read; do not wait for it."""
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
        """Return a file's arrays, once they are read. Raises what reading raised."""
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
            raise UserError(f"{self._disk.folder}: the disk cache's entry of {file.path} vanished; empty the folder")
        return arrays


class DiskCache:
    """Arrays of decoded files in a private folder."""

    def __init__(self, parent: str, recipe: str):
        """Open the cache's folder, or create it.

        Args:
            parent: folder that will contain it; empty for TMPDIR.
            recipe: text that names everything besides the file that decoded arrays depend on.

        Raises:
            UserError: if the folder cannot be created, or belongs to another user or is open to one.
        """
        self.folder = Path(parent or tempfile.gettempdir()).expanduser() / f"samples-{os.getuid()}"
        self._recipe = recipe
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.lstat()
        except OSError as error:
            raise UserError(f"{self.folder}: the disk cache cannot be created ({error.strerror})") from error
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise UserError(
                f"{self.folder}: is not a folder that only this user can enter, so its content is not trusted: "
                "remove it, or choose another data.cache_dir"
            )

    def _entry(self, file: DataFile) -> Path:
        text = f"{os.path.realpath(file.path)} {file.bytes} {file.modified_ns} {self._recipe}"
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:32]

    def load(self, file: DataFile) -> Optional[Arrays]:
        """Return the file's arrays, mapped into memory; None if they are not there, or not complete."""
        arrays = []
        for name in sorted(self._entry(file).glob("*.npy")):
            try:
                with npy.open_array(name) as array:
                    arrays.append(array.map())
            except (UserError, OSError, ValueError):
                return None
        return tuple(arrays) or None

    def store(self, file: DataFile, arrays: Arrays) -> None:
        """Write a file's arrays.

        Raises:
            UserError: if they cannot be written; says how many bytes are needed and free.
        """
        entry = self._entry(file)
        temporary = entry.with_name(f".{entry.name}.{os.getpid()}.{distributed.rank()}.tmp")
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(mode=0o700)
            for number, array in enumerate(arrays):
                np.save(temporary / f"{number:02d}.npy", array)
            shutil.rmtree(entry, ignore_errors=True)  # an incomplete one
            os.replace(temporary, entry)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if entry.is_dir():
                return  # another rank was faster
            problem = storage_problem(error, self.folder, sum(array.nbytes for array in arrays))
            raise UserError(
                f"{self.folder}: the disk cache cannot be written ({problem}): choose another data.cache_dir, or "
                "data.cache: none"
            ) from error

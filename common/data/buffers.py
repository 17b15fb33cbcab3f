"""Memory for large arrays that are read, used once and dropped, taken from a pool instead of the operating system.

Measured on files of 64 MB (`make bench`, row "reading"): a fresh array costs more in page faults than in copying, and
glibc cannot be told to keep arrays above 32 MiB. So freed arrays come back here and are handed out again. They start
on a page, which also lets TensorFlow use them in place instead of copying them (it wants 64-byte alignment).
"""

import mmap
import threading
import weakref
from collections import defaultdict

import numpy as np


class BufferPool:
    """Arrays by size. Keeps at most `keep_bytes` of freed memory; safe to use from several threads."""

    def __init__(self, keep_bytes: int = 1 << 30):
        self._keep_bytes = keep_bytes
        self._kept_bytes = 0
        self._free: dict[int, list[mmap.mmap]] = defaultdict(list)
        # Re-entrant: the garbage collector may free an array while this thread holds the lock.
        self._lock = threading.RLock()

    def empty(self, shape: tuple, dtype) -> np.ndarray:
        """An uninitialised C-ordered array. Its memory returns to the pool when the last view of it is gone."""
        dtype = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        bytes_wanted = max(count * dtype.itemsize, 1)
        with self._lock:
            memory = self._free[bytes_wanted].pop() if self._free[bytes_wanted] else None
            if memory is not None:
                self._kept_bytes -= bytes_wanted
        if memory is None:
            memory = mmap.mmap(-1, bytes_wanted)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
        # NumPy makes this array the base of every later view, so it dies exactly when the last of them does.
        owner = np.frombuffer(memory, np.uint8)
        at_the_end = weakref.finalize(owner, self._give_back, memory, bytes_wanted)
        at_the_end.atexit = False  # type: ignore[misc]  # a property, which its types do not know
        return owner[: count * dtype.itemsize].view(dtype).reshape(shape)

    def _give_back(self, memory: mmap.mmap, size: int) -> None:
        with self._lock:
            if self._kept_bytes + size <= self._keep_bytes:
                self._kept_bytes += size
                self._free[size].append(memory)


pool = BufferPool()

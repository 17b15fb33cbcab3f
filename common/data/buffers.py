"""A memory pool for large arrays that are read, used once and dropped.

Measured on files of 64 MB (`make bench`, row "reading"): the page faults of a new array cost more than copying into it,
and glibc cannot be told to keep freed arrays above 32 MiB. So the pool keeps freed memory and reuses it. Arrays start
on a page boundary, so TensorFlow, which needs 64-byte alignment, can use them in place instead of copying them.
"""

import mmap
import threading
import weakref
from collections import defaultdict

import numpy as np


class BufferPool:
    """Keeps at most `keep_bytes` of freed memory, by size; safe to use from several threads."""

    def __init__(self, keep_bytes: int = 1 << 30):
        self._keep_bytes = keep_bytes
        self._kept_bytes = 0
        self._free: dict[int, list[mmap.mmap]] = defaultdict(list)
        # Re-entrant: the garbage collector may free an array while this thread holds the lock.
        self._lock = threading.RLock()

    def empty(self, shape: tuple, dtype) -> np.ndarray:
        """Return an uninitialised C-ordered array whose memory returns to the pool with the last view of it."""
        dtype = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        needed_bytes = max(count * dtype.itemsize, 1)
        with self._lock:
            memory = self._free[needed_bytes].pop() if self._free[needed_bytes] else None
            if memory is not None:
                self._kept_bytes -= needed_bytes
        if memory is None:
            memory = mmap.mmap(-1, needed_bytes)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
        # NumPy makes this array the base of every later view, so it dies exactly when the last of them does.
        owner = np.frombuffer(memory, np.uint8)
        finalizer = weakref.finalize(owner, self._give_back, memory, needed_bytes)
        finalizer.atexit = False  # type: ignore[misc]  # a property that its type stubs lack
        return owner[: count * dtype.itemsize].view(dtype).reshape(shape)

    def _give_back(self, memory: mmap.mmap, size: int) -> None:
        with self._lock:
            if self._kept_bytes + size <= self._keep_bytes:
                self._kept_bytes += size
                self._free[size].append(memory)


pool = BufferPool()

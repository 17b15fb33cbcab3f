"""Checkpoints written by a thread of their own, so that training waits only if the one before is not finished."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Callable, Optional

from common.training import checkpoints


class Saver:
    """A context around a training; when it closes, the last checkpoint is complete. Rank 0 only.

    Attributes:
        seconds_lost: time that training has spent waiting here.
    """

    def __init__(self, folder: Path, keep: int):
        self._folder, self._keep = folder, keep
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Optional[Future] = None
        self.seconds_lost = 0.0

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: Optional[type], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._thread.shutdown()  # waits for what is being written, whatever has happened

    def save(self, step: int, read: Callable[[], dict], position: dict, best: Optional[int]) -> float:
        """Begin to write a checkpoint.

        Args:
            step: updates done.
            read: returns {name: array}, of arrays that later updates do not change.
            position: what else the run needs to resume, as JSON.
            best: step of the best checkpoint, which is kept.

        Returns:
            The seconds that training has lost.

        Raises:
            UserError: if the checkpoint before could not be written.
        """
        started = time.perf_counter()
        self._finish()
        self._writing = self._thread.submit(checkpoints.save, self._folder, step, read(), position, self._keep, best)
        lost = time.perf_counter() - started
        self.seconds_lost += lost
        return lost

    def wait(self) -> None:
        """Wait until the checkpoint is complete. Raises UserError if it could not be written."""
        started = time.perf_counter()
        try:
            self._finish()
        finally:
            self.seconds_lost += time.perf_counter() - started

    def _finish(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

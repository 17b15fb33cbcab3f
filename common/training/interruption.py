"""A scheduler's warning: SIGUSR1, or in a job SIGTERM, to any rank.

Outside a job SIGTERM ends a program at once, which is how horovodrun stops the ranks that are left.
"""

import os
import signal
from types import FrameType
from typing import Optional

_SIGNALS = (signal.SIGUSR1, *([signal.SIGTERM] if {"SLURM_JOB_ID", "LSB_JOBID"} & os.environ.keys() else []))


class Warnings:
    """While this context is open, `name` is that of the last warning's signal, empty if there was none."""

    def __init__(self) -> None:
        self.name = ""
        self._before: dict = {}

    def __enter__(self) -> "Warnings":
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        self.name = signal.Signals(number).name

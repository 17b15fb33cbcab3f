"""A scheduler's warning that a job will end: SIGUSR1 or, inside a job, SIGTERM to any rank.

Outside a job, SIGTERM ends a program at once: that is how horovodrun stops the remaining ranks.
"""

import os
import signal
from types import FrameType
from typing import Optional

from common import distributed
from common.distributed import devices

# On GPUs, checking whether a rank was warned waits for the device to finish its queued work, so it is done only this
# often; with updates of 3 s (V100s, 2 x 16 samples) training then ends within half a minute of the warning.
_UPDATES_BETWEEN_CHECKS = 10

_SIGNALS = (signal.SIGUSR1, *([signal.SIGTERM] if {"SLURM_JOB_ID", "LSB_JOBID"} & os.environ.keys() else []))


def updates_between_checks(logging_frequency: int) -> int:
    """Return after how many updates ranks check whether one of them was warned; the same on all. A collective call.

    On CPUs after every update: it is done when its call returns, and may take a minute, where schedulers give five. On
    GPUs together with the records, which wait for the device anyway, but after _UPDATES_BETWEEN_CHECKS at the latest.
    """
    if not any(distributed.gather_objects(devices.on_gpu())):
        return 1
    return min(logging_frequency or _UPDATES_BETWEEN_CHECKS, _UPDATES_BETWEEN_CHECKS)


class Warnings:
    """A context that catches warnings. name: of the last signal received, empty if there was none."""

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

"""A scheduler's warning: SIGUSR1, or in a job SIGTERM, to any rank.

Outside a job SIGTERM ends a program at once, which is how horovodrun stops the ranks that are left.
"""

import os
import signal
from types import FrameType
from typing import Optional

from common import distributed
from common.distributed import devices

# On GPUs a look at whether a rank was warned waits for all that was given to the device, so it comes this seldom at
# most; with updates of 3 s, V100s at 2 x 16 samples, training then ends within half a minute of the warning.
_UPDATES_BETWEEN_LOOKS = 10

_SIGNALS = (signal.SIGUSR1, *([signal.SIGTERM] if {"SLURM_JOB_ID", "LSB_JOBID"} & os.environ.keys() else []))


def updates_between_looks(logging_frequency: int) -> int:
    """After how many updates ranks look whether one of them was warned; the same on all. A collective call.

    On CPUs after each: an update is done when its call returns, and may take a minute, where schedulers give five. On
    GPUs when records are made, which waits anyway, but after _UPDATES_BETWEEN_LOOKS at the latest.
    """
    if not any(distributed.gather_objects(devices.on_gpu())):
        return 1
    return min(logging_frequency or _UPDATES_BETWEEN_LOOKS, _UPDATES_BETWEEN_LOOKS)


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

"""Tracking while a run goes on (output.wandb), on rank 0 only. Only its start may stop the run: a tracker that fails
later is said once and let go.

A start after a resume writes the whole run into its offline directory, what was done before taken from metrics.jsonl:
Weights & Biases cannot go on with an offline directory, and of two with one id the second to be uploaded replaces the
first. Online the run on the server goes on; updates that it has already are not taken again.
"""

from typing import Callable

from common.runs.folder import Run
from common.runs.records import read_records
from common.tracking import points
from common.tracking.tracker import Tracker
from common.tracking.weights_biases import WeightsAndBiases


class Live:
    """Takes the records of a run as they are made. Rank 0 only."""

    def __init__(self, tracker: Tracker, of_whole_run: frozenset[str], say: Callable[[str], None]):
        """of_whole_run: kinds of records, as common.tracking.points.kinds_of_figures gives them."""
        self._tracker, self._of_whole_run, self._say = tracker, of_whole_run, say
        self._step, self._failed = 0, False

    def take(self, record: dict) -> None:
        self._guarded(lambda: self._hand_on(record))

    def finish(self, *, failed: bool) -> None:
        self._guarded(lambda: self._tracker.finish(failed=failed))

    def _hand_on(self, record: dict) -> None:
        point, figures = points.point(record), points.figures(record, self._of_whole_run)
        if point:
            self._step = point.step
            self._tracker.log([point])
        if figures:
            self._tracker.summarise(points.Point(self._step, record["time"], figures))

    def _guarded(self, action: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            action()
        except Exception as error:  # whatever its own process, the network or the disk brought about
            self._failed = True
            said = " ".join(str(error).split())[:200] or type(error).__name__
            self._say(f"tracking stopped, the run goes on without it: {said} (python -m common.export makes up for it)")


def start(run: Run, mode: str) -> Live:
    """Rank 0 only. mode: offline | online. Raises UserError if tracking cannot start."""
    about = points.describe(run.path)
    tracker = WeightsAndBiases(about, run.path, mode)
    live = Live(tracker, points.kinds_of_figures(about.project), run.say)
    if mode == "offline" or not run.resumed:
        records = read_records(run / "metrics.jsonl")
        for record in sorted(records, key=_step):
            live.take(record)
    run.listener = live.take
    return live


def _step(record: dict) -> int:
    point = points.point(record)
    return point.step if point else 0

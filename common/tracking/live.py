"""Tracking during a run (output.wandb), on rank 0 only.

A tracker that cannot start stops the run. One that fails later is reported once, and the run continues without it.

Offline, a resumed run writes a new directory with the whole run, earlier updates taken from metrics.jsonl: Weights &
Biases cannot continue an offline directory, and of two directories with one id the one uploaded second replaces the
other. Online, the run on the server is continued, and updates that it already has are not sent again.
"""

from typing import Callable

from common.runs.folder import Run
from common.runs.records import read_records
from common.tracking import points
from common.tracking.tracker import Tracker
from common.tracking.weights_biases import WeightsAndBiases


class Live:
    """Passes the records of a run to a tracker as they are written. Rank 0 only."""

    def __init__(self, tracker: Tracker, of_whole_run: frozenset[str], say: Callable[[str], None]):
        """Wrap a tracker.

        Args:
            tracker: an open one.
            of_whole_run: kinds of records, from common.tracking.points.kinds_of_figures.
            say: prints a line if the tracker fails.
        """
        self._tracker, self._of_whole_run, self._say = tracker, of_whole_run, say
        self._step, self._failed = 0, False

    def take(self, record: dict) -> None:
        """Pass a record to the tracker."""
        self._guarded(lambda: self._pass_on(record))

    def finish(self, *, failed: bool) -> None:
        """Close the tracker; `failed`: the run ended with an error."""
        self._guarded(lambda: self._tracker.finish(failed=failed))

    def _pass_on(self, record: dict) -> None:
        point, figures = points.point(record), points.figures(record, self._of_whole_run)
        if point:
            self._step = point.step
            self._tracker.log([point])
        if figures:
            self._tracker.summarise(points.Point(self._step, record["time"], figures))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do something with the tracker, unless it has failed before."""
        if self._failed:
            return
        try:
            action()
        except Exception as error:  # of its own process, the network or the disk
            self._failed = True
            cause = " ".join(str(error).split())[:200] or type(error).__name__
            self._say(f"tracking stopped, the run continues: {cause} (`python -m common.export` exports it afterwards)")


def start(run: Run, mode: str) -> Live:
    """Start to track a run. Rank 0 only.

    Args:
        run: the run; its earlier records are tracked too, unless a server already has them.
        mode: offline | online.

    Raises:
        UserError: if tracking cannot start.
    """
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

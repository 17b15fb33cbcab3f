"""What a training records and shows while it runs: metrics.jsonl, MLPerf log, TensorBoard, progress.

Every rank has a journal; only that of rank 0 writes and prints.
"""

import sys
import time
from contextlib import ExitStack
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common import distributed
from common.distributed import status
from common.runs import kinds
from common.runs.folder import Run
from common.runs.mlperf import Log
from common.training.settings import SILENCE_SECONDS, TrainingSettings
from common.training.step import StepResult, TrainingStep
from common.training.task import Task


class Totals(NamedTuple):
    """Counts and times of a training. updates, epochs: of the whole run; the others of this start only."""

    updates: int
    epochs: float
    epochs_run: float
    training_seconds: float
    samples_per_second: float


class Journal:
    """A context around a training.

    The order of calls: begin_epoch, add for each update, flush, end_epoch, finish_epoch; begin_evaluation and
    end_evaluation between updates or before finish_epoch.
    """

    def __init__(self, task: Task, step: TrainingStep, run: Run, log: Log, settings: TrainingSettings, first: int):
        """first: updates done before this start."""
        self.run, self.log, self._task, self._step = run, log, task, step
        self._updates_per_epoch = task.batches.steps_per_epoch
        self._samples_per_update = task.batches.batch_size * distributed.size()
        self._first, self.update = first, first
        self._pending: list[StepResult] = []
        self._epoch_terms: list[dict[str, float]] = []
        self._training_seconds = self._all_seconds = 0.0
        self._stack = ExitStack()
        self._bar: Optional[Progress] = None
        self._writer: Any = None  # of TensorBoard's event files

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show_curves_in_tensorboard(self) -> None:
        """Also write event files from here on."""
        if distributed.is_root():
            self._writer = tf.summary.create_file_writer(str(self.run / "tensorboard"))
            self._stack.callback(self._writer.close)

    def begin_epoch(self, epoch: int) -> None:
        """Start the epoch's clock and progress bar. epoch: counted from 1."""
        self.epoch = epoch
        self._started, self._epoch_first = time.perf_counter(), self.update
        self._epoch_terms = []
        self._epoch_seconds: Optional[float] = None
        self._evaluation_seconds = 0.0
        self._scores: dict[str, float] = {}
        self._peak_rate, self._last_record, self._last_line = 0.0, self._started, self._started
        self._line_update = self.update
        self.log.start("epoch", epoch_num=epoch, step_num=self.update)
        if distributed.is_root() and sys.stdout.isatty():
            if self._bar is None:
                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                self._bar = self._stack.enter_context(Progress(*columns, transient=True))
                self._bar_task = self._bar.add_task("training", total=self._updates_per_epoch)
            done = self.update % self._updates_per_epoch
            self._bar.reset(self._bar_task, completed=done, description=f"epoch {epoch} of {self._task.goal.epochs}")

    def add(self, result: StepResult) -> None:
        """Count an update; its values are read in the next flush, so that nothing waits for them here."""
        self.update += 1
        self._pending.append(result)
        if self._bar:
            self._bar.advance(self._bar_task)
        elif time.perf_counter() - self._last_line > SILENCE_SECONDS:
            self._show_progress()

    def _show_progress(self) -> None:
        now = time.perf_counter()
        update_in_epoch = (self.update - 1) % self._updates_per_epoch + 1
        text = f"  epoch {self.epoch}: update {update_in_epoch} of {self._updates_per_epoch}"
        if self.update == self._first + 1:
            self.run.say(f"{text}: the first, {duration(now - self._started)} including the network's compilation")
        else:
            done = self.update - self._line_update
            pace = (now - self._last_line) / done  # seconds per update
            left = pace * (self._updates_per_epoch - update_in_epoch)
            self.run.say(
                f"{text}, {self._samples_per_update / pace:.2f} samples/s, {duration(left)} left in this epoch"
            )
        self._last_line, self._line_update = now, self.update

    def flush(self) -> None:
        """Record the mean of the updates since the last record."""
        if not self._pending:
            return
        values = [{name: float(value) for name, value in result.terms.items()} for result in self._pending]
        now = time.perf_counter()  # after the values were waited for
        self._peak_rate = max(self._peak_rate, self._samples_per_update * len(values) / (now - self._last_record))
        self._pending, self._last_record = [], now
        self._epoch_terms += values
        terms, rate = _mean(values), self._step.learning_rate
        self.run.record(kinds.Step(self.update, self.epoch, rate, terms))
        status.update(updates=self.update)
        mean = {**terms, "learning_rate": rate}
        self._log_terms(mean)
        self._write_summaries({f"train/{name}": value for name, value in mean.items()})

    def _log_terms(self, mean: dict[str, float]) -> None:
        for name, value in mean.items():
            key = "train_accuracy" if name == self._task.goal.score else f"train_{name}"
            self.log.event("learning_rate" if name == "learning_rate" else key, value, **self.log_position)

    def _write_summaries(self, values: dict[str, float]) -> None:
        if self._writer:
            with self._writer.as_default(self.update):
                for name, value in values.items():
                    tf.summary.scalar(name, value)

    @property
    def log_position(self) -> dict[str, int]:
        """The present epoch and update, as the MLPerf log's metadata."""
        return {"epoch_num": self.epoch, "step_num": self.update}

    def end_epoch(self) -> None:
        """Record that the epoch's updates are done, and stop its clock."""
        self.flush()
        self._epoch_seconds = time.perf_counter() - self._started - self._evaluation_seconds
        self._training_seconds += self._epoch_seconds
        self._terms = _mean(self._epoch_terms)
        self._rate = self._samples_per_update * (self.update - self._epoch_first) / self._epoch_seconds
        self.log.event("tracked_stats", self._rates(), **self.log_position)

    def begin_evaluation(self) -> None:
        """Start the evaluation's clock."""
        self._evaluation_started = time.perf_counter()
        self.log.start("eval", **self.log_position)

    def end_evaluation(self, scores: dict[str, float]) -> None:
        """Record the evaluation; its time does not count as training time."""
        seconds = time.perf_counter() - self._evaluation_started
        self.log.event("eval_accuracy", scores[self._task.goal.score], **self.log_position)
        self.log.event("eval_loss", scores["loss"], **self.log_position)
        self.log.end("eval", **self.log_position)
        self._scores = scores
        self._evaluation_seconds += seconds
        self._last_record += seconds
        self._last_line += seconds
        self._write_summaries({f"evaluation/{name}": value for name, value in scores.items()})
        if self._epoch_seconds is None:  # otherwise it goes into the epoch's record and line
            self.run.record(kinds.Evaluation(self.update, self.epoch, seconds, scores))
            self.run.say(f"  epoch {self.epoch}, update {self.update}: held out: {self._shown(scores)}")

    def _rates(self) -> dict[str, float]:
        """Samples/s over the epoch and, if a sample's operations are known, TFLOP/s of all ranks: sustained over the
        epoch, and the peak between two records."""
        if not self._task.gflop_per_sample:
            return {"throughput": self._rate}
        teraflops = self._task.gflop_per_sample / 1000
        return {
            "throughput": self._rate,
            "tflops_sustained": self._rate * teraflops,
            "tflops_peak": max(self._peak_rate, self._rate) * teraflops,
        }

    def finish_epoch(self) -> None:
        """Record the epoch with its last evaluation, if it had one, and print its line."""
        assert self._epoch_seconds is not None
        self.log.end("epoch", **self.log_position)
        self._all_seconds += self._epoch_seconds + self._evaluation_seconds
        record = kinds.Epoch(
            step=self.update,
            epoch=self.epoch,
            seconds=self._epoch_seconds,
            evaluation_seconds=self._evaluation_seconds,
            samples_per_second=self._rate,
            rates=self._rates(),
            learning_rate=self._step.learning_rate,
            train=self._terms,
            evaluation=self._scores,
        )
        self.run.record(record)
        self.run.say(self._epoch_line())

    def _epoch_line(self) -> str:
        train = ", ".join(f"{name} {value:.4f}" for name, value in self._terms.items())
        held_out = f" | held out: {self._shown(self._scores)}" if self._scores else ""
        epochs_done = (self.update - self._first) / self._updates_per_epoch
        left = self._all_seconds / epochs_done * (self._task.goal.epochs - self.epoch)
        return (
            f"epoch {self.epoch:3d} of {self._task.goal.epochs}: {self._epoch_seconds:7.1f} s, {self._rate:7.2f} "
            f"samples/s | training: {train}{held_out}" + (f" | {duration(left)} left" if left else "")
        )

    def _shown(self, scores: dict[str, float]) -> str:
        """The loss and the score that the target is set for."""
        shown = {name: scores[name] for name in ("loss", self._task.goal.score) if name in scores}
        return ", ".join(f"{name} {value:.4f}" for name, value in shown.items())

    def target_reached(self, scores: dict[str, float]) -> None:
        """Record and print that the target was reached."""
        goal = self._task.goal
        self.log.event("target_accuracy_reached", goal.target, **self.log_position)
        self.run.say(f"target reached: {goal.score} {scores[goal.score]:.4f} >= {goal.target}")

    def totals(self) -> Totals:
        """Return counts and times up to now."""
        updates = self.update - self._first
        return Totals(
            updates=self.update,
            epochs=self.update / self._updates_per_epoch,
            epochs_run=updates / self._updates_per_epoch,
            training_seconds=self._training_seconds,
            samples_per_second=updates * self._samples_per_update / max(self._training_seconds, 1e-9),
        )


def _mean(values: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]} if values else {}


def duration(seconds: float) -> str:
    """Return a duration for people to read, such as 45 s, 12 min or 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

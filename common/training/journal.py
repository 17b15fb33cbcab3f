"""What happens around a training step, in this order: check the loss, record, evaluate, checkpoint, stop.

Each is a Keras callback on every rank; what writes or speaks does so on rank 0 only.
"""

import math
import os
import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Callable

import numpy as np
import tensorflow as tf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common import distributed
from common.data.batches import Batches
from common.errors import InterruptedTrainingError, UserError
from common.runs.folder import Run
from common.runs.mlperf import Log
from common.training import checkpoints

if TYPE_CHECKING:
    from common.training.loop import State, TrainingSettings


STOPPED = "stopped"  # in a step's results: the share of ranks that were asked to stop


class Callback(tf.keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        # Keras then hands over step results as tensors and does not wait for each.
        self._supports_tf_logs = True


class Records(Callback):
    """Counts updates, writes metrics.jsonl, the MLPerf log and TensorBoard, and shows progress."""

    def __init__(
        self,
        run: Run,
        log: Log,
        settings: "TrainingSettings",
        epochs: int,
        batches: Batches,
        step: int,
        score: str,
        gflop_per_sample: float,
        tensorboard: bool,
        stack: ExitStack,
    ):
        super().__init__()
        self.run, self.log, self.settings, self.epochs = run, log, settings, epochs
        self.step, self._first_step = step, step  # updates done
        self.steps_per_epoch = batches.steps_per_epoch
        self._samples_per_step = batches.batch_size * distributed.size()
        self._score, self._gflop_per_sample = score, gflop_per_sample
        self._pending: list = []
        self._epoch_values: list = []
        self._training_seconds = 0.0
        self._bar, self._writer = None, None
        if distributed.is_root():
            if tensorboard:
                self._writer = tf.summary.create_file_writer(str(run / "tensorboard"))
                stack.callback(self._writer.close)
            if sys.stdout.isatty():
                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                self._bar = stack.enter_context(Progress(*columns, transient=True))
                self._bar_task = self._bar.add_task("training", total=self.steps_per_epoch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1  # counted from 1 for people
        self._started, self._epoch_first_step = time.perf_counter(), self.step
        self._epoch_values = []
        self._peak_rate, self._last_record = 0.0, self._started
        self.log.start("epoch", epoch_num=self.epoch, step_num=self.step)
        if self._bar:
            done = self.step % self.steps_per_epoch
            self._bar.reset(self._bar_task, completed=done, description=f"epoch {self.epoch} of {self.epochs}")

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self._pending.append({name: value for name, value in logs.items() if name != STOPPED})
        if self._bar:
            self._bar.advance(self._bar_task)
        if self.step % self.settings.logging_frequency == 0:
            self._flush()

    def _flush(self) -> None:
        """Record the mean of the steps since the last record."""
        if not self._pending:
            return
        values = [{name: float(value) for name, value in logs.items()} for logs in self._pending]
        now = time.perf_counter()  # after the values were waited for
        self._peak_rate = max(self._peak_rate, self._samples_per_step * len(values) / (now - self._last_record))
        self._pending, self._last_record = [], now
        self._epoch_values += values
        mean = _mean(values)
        self.run.record("step", step=self.step, epoch=self.epoch, learning_rate=self.learning_rate(), **mean)
        if self._writer:
            with self._writer.as_default(self.step):
                for name, value in {**mean, "learning_rate": self.learning_rate()}.items():
                    tf.summary.scalar(f"train/{name}", value)

    def learning_rate(self) -> float:
        """The rate of the last update."""
        return float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch, logs=None):
        self._flush()
        self.epoch_seconds = time.perf_counter() - self._started
        self._training_seconds += self.epoch_seconds
        self.epoch_mean = _mean(self._epoch_values)
        self.samples_per_second = self._samples_per_step * (self.step - self._epoch_first_step) / self.epoch_seconds
        place = {"epoch_num": self.epoch, "step_num": self.step}
        self.log.event("learning_rate", self.learning_rate(), **place)
        for name, value in self.epoch_mean.items():
            self.log.event("train_accuracy" if name == self._score else f"train_{name}", value, **place)
        self.log.event("tracked_stats", self.rates(), **place)

    def rates(self) -> dict:
        """Samples a second over the epoch and, if the work of a sample is known, TFLOP/s over all ranks: sustained
        over the epoch, and peak, over its fastest stretch between two records."""
        if not self._gflop_per_sample:
            return {"throughput": self.samples_per_second}
        teraflops = self._gflop_per_sample / 1000
        return {
            "throughput": self.samples_per_second,
            "tflops_sustained": self.samples_per_second * teraflops,
            "tflops_peak": max(self._peak_rate, self.samples_per_second) * teraflops,
        }

    def finish_epoch(self, scores: dict, seconds: float) -> None:
        """Record the epoch and show its line; called when its evaluation is done."""
        self.log.end("epoch", epoch_num=self.epoch, step_num=self.step)
        self.run.record(
            "epoch",
            step=self.step,
            epoch=self.epoch,
            seconds=self.epoch_seconds,
            evaluation_seconds=seconds,
            samples_per_second=self.samples_per_second,
            rates=self.rates(),
            learning_rate=self.learning_rate(),
            train=self.epoch_mean,
            evaluation=scores,
        )
        if self._writer:
            with self._writer.as_default(self.step):
                for name, value in scores.items():
                    tf.summary.scalar(f"evaluation/{name}", value)
        train = ", ".join(f"{name} {value:.4f}" for name, value in self.epoch_mean.items())
        held_out = ", ".join(
            f"{name} {value:.4f}" for name, value in scores.items() if name in ("loss", "pixel_accuracy", "iou")
        )
        self.run.say(
            f"epoch {self.epoch:3d} of {self.epochs}: {self.epoch_seconds:7.1f} s, "
            f"{self.samples_per_second:7.2f} samples/s | training: {train} | held out: {held_out}"
        )

    def summary(self) -> dict:
        updates = self.step - self._first_step
        return {
            "updates": self.step,
            "epochs": self.step / self.steps_per_epoch,
            "epochs_run": updates / self.steps_per_epoch,  # in this process: fewer after a resume
            "training_seconds": self._training_seconds,
            "samples_per_second": updates * self._samples_per_step / max(self._training_seconds, 1e-9),
        }


def _mean(values: list) -> dict:
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]} if values else {}


class FiniteLoss(Callback):
    """Stops every rank when the loss is NaN or infinite. The loss is the mean over ranks, so all see the same."""

    def __init__(self, settings: "TrainingSettings", records: Records):
        super().__init__()
        self._settings, self._records = settings, records

    def on_train_batch_end(self, batch, logs=None):
        # One ahead of Records, which comes after this one in the list.
        step = self._records.step + 1
        saves = self._settings.save_frequency and step % self._settings.save_frequency == 0
        if saves or step % self._settings.logging_frequency == 0:
            self._check()

    def on_epoch_end(self, epoch, logs=None):
        self._check()

    def _check(self) -> None:
        bad = int(self.model.first_bad_step)
        if bad:
            raise UserError(
                f"the loss is not a number or infinite at update {bad} (epoch {self._records.epoch}): lower "
                "optimizer.start_lr, add warm-up, or set optimizer.max_grad_norm; checkpoints before it are kept",
                on_all_ranks=True,
            )


class AverageStatistics(Callback):
    """Gives every rank the mean over ranks of the batch norms' running statistics, before evaluation and checkpoint.

    Ranks see different samples, so without it the evaluation would depend on which rank's statistics were taken.
    """

    def __init__(self, settings: "TrainingSettings", records: Records):
        super().__init__()
        self._settings, self._records = settings, records

    def on_train_batch_end(self, batch, logs=None):
        every, step = self._settings.save_frequency, self._records.step
        if every and step % every == 0:
            self.average()

    def on_epoch_end(self, epoch, logs=None):
        self.average()

    def average(self) -> None:
        statistics = self.model.network.non_trainable_variables
        if distributed.size() == 1 or not statistics:
            return
        # As one tensor: outside a graph every exchange is waited for, one Horovod cycle each.
        flat = tf.concat([tf.reshape(variable, [-1]) for variable in statistics], 0)
        (mean,) = distributed.average_over_ranks([flat])
        parts = tf.split(mean, [variable.shape.num_elements() for variable in statistics])
        for variable, part in zip(statistics, parts):
            variable.assign(tf.reshape(part, variable.shape))


class Evaluation(Callback):
    """Evaluates after each epoch and stops training once the score reaches the target."""

    def __init__(self, records: Records, evaluate: Callable[[], dict], score: str, target: float, position: dict):
        super().__init__()
        self._records, self._evaluate, self._score, self._target = records, evaluate, score, target
        self.latest: dict = position.get("evaluation", {})
        self.best: float = position.get("best", -math.inf)
        self.reached: bool = position.get("target_reached", False)

    def on_epoch_end(self, epoch, logs=None):
        log, place = self._records.log, {"epoch_num": self._records.epoch, "step_num": self._records.step}
        started = time.perf_counter()
        log.start("eval", **place)
        self.latest = self._evaluate()
        log.event("eval_accuracy", self.latest[self._score], **place)
        log.event("eval_loss", self.latest["loss"], **place)
        log.end("eval", **place)
        self.best = max(self.best, self.latest[self._score])
        self._records.finish_epoch(self.latest, time.perf_counter() - started)
        if self._target and self.latest[self._score] >= self._target:
            self.reached = True
            log.event("target_accuracy_reached", self._target, **place)
            self._records.run.say(f"target reached: {self._score} {self.latest[self._score]:.4f} >= {self._target}")
            self.model.stop_training = True

    def position(self) -> dict:
        best = self.best if math.isfinite(self.best) else None
        place = {"evaluation": self.latest, "target_reached": self.reached}
        return place if best is None else {**place, "best": best}


class Checkpointing(Callback):
    """Saves after each epoch, and every save_frequency updates within one."""

    def __init__(
        self, run: Run, state: "State", settings: "TrainingSettings", records: Records, evaluation: Evaluation
    ):
        super().__init__()
        self._run, self._state, self._settings = run, state, settings
        self._records, self._evaluation = records, evaluation

    def on_train_batch_end(self, batch, logs=None):
        step = self._records.step
        every = self._settings.save_frequency
        # The last of an epoch is saved after its evaluation.
        if every and step % every == 0 and step % self._records.steps_per_epoch:
            self.save(step)

    def on_epoch_end(self, epoch, logs=None):
        self.save(self._records.step)

    def save(self, step: int) -> None:
        if not distributed.is_root():
            return
        folder = self._run / "checkpoints"
        checkpoints.save(
            folder, step, self._state.arrays(), self._evaluation.position(), self._settings.keep_checkpoints
        )
        self._run.record("checkpoint", step=step)


class Interruption(Callback):
    """Stops all ranks at a checkpoint after a scheduler's warning to any of them: SIGUSR1, or in a job SIGTERM.

    Every rank learns of it from the step's own exchange. A step's result is looked at after the next step was given to
    the device, so that nothing waits; hence training ends one step later.
    """

    def __init__(
        self, run: Run, records: Records, averaging: AverageStatistics, saving: Checkpointing, stack: ExitStack
    ):
        super().__init__()
        self._run, self._records, self._averaging, self._saving = run, records, averaging, saving
        self._signal, self._before = "", None
        for number in _WARNINGS:
            stack.callback(signal.signal, number, signal.signal(number, self._note))

    def _note(self, number, frame) -> None:
        self._signal = signal.Signals(number).name

    def on_train_batch_begin(self, batch, logs=None):
        if self._signal:  # not in the handler, which may run while a graph is traced
            self.model.asked_to_stop.assign(1.0)

    def on_train_batch_end(self, batch, logs=None):
        before, self._before = self._before, logs[STOPPED]
        if before is None or not float(before) > 0:
            return
        step = self._records.step
        if step % self._records.steps_per_epoch == 0:
            return  # the epoch's end evaluates and saves; the next step stops
        self._averaging.average()
        self._saving.save(step)
        names = sorted({name for name in distributed.gather_objects(self._signal) if name})
        raise InterruptedTrainingError(
            f"after update {step} by {' and '.join(names)} with a checkpoint: go on with --resume {self._run.path}",
            on_all_ranks=True,
        )


# Outside a job SIGTERM ends a program at once, which is how horovodrun stops the ranks that are left.
_WARNINGS = (signal.SIGUSR1, *([signal.SIGTERM] if {"SLURM_JOB_ID", "LSB_JOBID"} & os.environ.keys() else []))

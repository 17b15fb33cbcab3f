"""The training loop of every benchmark, to be read from top to bottom.

For each update: take the step; look for a loss that is not finite; record. At an epoch's end, or as often as asked:
average the running statistics over ranks, evaluate, save, and stop at the target. A warning of the scheduler to any
rank stops all ranks at a checkpoint after the same update.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Callable, Optional

import tensorflow as tf

from common import distributed
from common.data.device import shipped_dtype, to_device
from common.errors import InterruptedTrainingError, UserError
from common.runs import kinds
from common.runs.folder import Run
from common.session import Session
from common.training import checkpoints
from common.training.interruption import Warnings, updates_between_looks
from common.training.journal import Journal
from common.training.saver import Saver
from common.training.settings import TrainingSettings
from common.training.state import State
from common.training.step import StepResult, TrainingStep
from common.training.task import Task
from common.training.warmup import warm_up


@dataclass
class Progress:
    """Where a training is: what a checkpoint holds besides the arrays."""

    update: int = 0  # updates done
    evaluation: dict = field(default_factory=dict)  # the latest
    best: Optional[float] = None  # score
    best_update: int = 0  # after which it was reached
    best_evaluation: dict = field(default_factory=dict)
    epochs_without_gain: int = 0
    target_reached: bool = False
    stopped_early: bool = False
    ranks: int = 1  # that the run began on: samples are dealt out to so many
    updates_per_epoch: int = 0
    data: str = ""  # checksum of the training files' names, sizes and times


def train(
    task: Task,
    optimizer: tf.keras.optimizers.Optimizer,
    settings: TrainingSettings,
    session: Session,
    *,
    tensorboard: bool = True,
    begin: Callable[[], int] = lambda: 0,
) -> kinds.Training:
    """Train the task's network in place to its goal, going on from the run's checkpoint if it resumed. Collective.

    begin: for a run without a checkpoint of its own, sets on rank 0 what network and optimizer start from, and returns
    the number of updates that lie behind them.

    The timed run begins after the warm-up and ends with the last evaluation. Returns what there is to record of it.
    """
    step = TrainingStep(task.network, optimizer, task.objective, settings)
    state = State(step)
    progress = _resume(state, task, session.run, begin)
    state.broadcast()
    saver = Saver(session.run / "checkpoints", settings.keep_checkpoints)
    with Journal(task, step, session.run, session.log, settings, progress.update) as journal, Warnings() as warnings:
        if tensorboard:
            journal.show_curves_in_tensorboard()
        loop = _Loop(task, step, state, progress, journal, warnings, saver, settings)
        session.log.event("warmup_steps", settings.warmup_steps)
        if settings.max_validation_steps:
            session.log.event("invalid_submission", True)
            session.run.say("training.max_validation_steps is set: the log is marked as no valid submission")
        if settings.warmup_steps and loop.updates_left:
            session.run.say(f"warming up with {settings.warmup_steps} updates on made-up samples")
            warm_up(step, state, task, settings.warmup_steps)
        started = time.perf_counter()
        with session.timed() as outcome, saver:
            task.stage()
            try:
                loop.run(session.threads)
            except tf.errors.OpError as error:
                raise task.batches.problem(error) from error
            outcome.success = progress.target_reached or not task.goal.target
        seconds = time.perf_counter() - started
        if settings.restore_best:
            _restore_best(state, progress, session.run)
    return kinds.Training(
        **journal.totals()._asdict(),
        seconds=seconds,
        evaluation=progress.evaluation,
        target_reached=progress.target_reached,
        stopped_early=progress.stopped_early,
        best_update=progress.best_update,
        seconds_lost_to_saving=saver.seconds_lost,
    )


@dataclass
class _Loop:
    task: Task
    step: TrainingStep
    state: State
    progress: Progress
    journal: Journal
    warnings: Warnings
    saver: Saver
    settings: TrainingSettings
    last_result: Optional[StepResult] = None
    saved_update: int = -1

    @property
    def updates_left(self) -> int:
        progress = self.progress
        last = self.task.goal.epochs * self.task.batches.steps_per_epoch
        return 0 if progress.target_reached or progress.stopped_early else max(last - progress.update, 0)

    def run(self, threads: int) -> None:
        if not self.updates_left:
            return
        progress, per_epoch = self.progress, self.task.batches.steps_per_epoch
        last = progress.update + self.updates_left
        if not self.settings.warmup_steps:
            self.journal.run.say("preparing the first update (the network is compiled for this machine)")
        self.journal.begin_epoch(progress.update // per_epoch + 1)
        looks = updates_between_looks(self.settings.logging_frequency)
        for batch in self.batches(last, threads):
            if self.warnings.name:  # not in the handler, which may run while a graph is traced
                self.step.ask_to_stop()
            result = self.step(batch)
            progress.update += 1
            self.journal.add(result)
            ends_epoch = progress.update % per_epoch == 0
            if self.finish_update(ends_epoch, progress.update == last):
                return
            if ends_epoch:
                self.journal.begin_epoch(progress.update // per_epoch + 1)
            if _every(looks, progress.update):
                self.stop_if_warned(result if looks > 1 else self.last_result)
            self.last_result = result

    def batches(self, last: int, threads: int) -> Iterable:
        """Those up to update `last`, on the device beforehand where the step does not keep them in host memory."""
        found = self.task.batches.dataset(self.progress.update, last, parallel=threads)
        accumulates = self.settings.gradient_accumulation_frequency > 1
        return to_device(found, dtype=shipped_dtype(self.task.network), ahead=not accumulates)

    def finish_update(self, ends_epoch: bool, ends: bool) -> bool:
        """What is due after an update: record, evaluate, save. ends: it was the last. Whether the training is over."""
        progress = self.progress
        evaluates, saves = self.evaluation_is_due(ends_epoch, ends), self.checkpoint_is_due(ends_epoch, ends)
        if ends_epoch or evaluates or saves or _every(self.settings.logging_frequency, progress.update):
            self.step.check_finite()
            self.journal.flush()
        if ends_epoch:
            self.journal.end_epoch()
        if evaluates:
            self.evaluate()
        ends = ends or progress.target_reached or progress.stopped_early
        if ends and not ends_epoch:
            self.journal.end_epoch()
        if ends or ends_epoch:
            self.journal.finish_epoch()
        if saves or self.checkpoint_is_due(ends_epoch, ends):
            self.state.average_statistics()
            self.save()
        return ends

    def evaluation_is_due(self, ends_epoch: bool, ends: bool) -> bool:
        frequency = self.settings.validation_frequency
        return ends or _every(frequency, self.progress.update) if frequency else ends_epoch

    def checkpoint_is_due(self, ends_epoch: bool, ends: bool) -> bool:
        when, frequency, update = self.settings.checkpoints, self.settings.save_frequency, self.progress.update
        if when == "epoch":
            return ends_epoch and _every(frequency or 1, update // self.task.batches.steps_per_epoch)
        return (when != "none" and ends) or (when == "steps" and _every(frequency, update))

    def evaluate(self) -> None:
        """Judge the network on what was held out, and see whether that ends the training."""
        self.journal.begin_evaluation()
        self.state.average_statistics()
        scores = self.task.evaluate()
        self.journal.end_evaluation(scores)
        progress, goal = self.progress, self.task.goal
        progress.evaluation = scores
        progress.epochs_without_gain += 1
        if scores[goal.score] > (-math.inf if progress.best is None else progress.best):
            progress.best, progress.best_evaluation = scores[goal.score], scores
            progress.best_update, progress.epochs_without_gain = progress.update, 0
        if goal.target and scores[goal.score] >= goal.target:
            progress.target_reached = True
            self.journal.target_reached(scores)
        elif self.settings.patience and progress.epochs_without_gain >= self.settings.patience:
            progress.stopped_early = True
            epochs = progress.epochs_without_gain
            what = "evaluations" if self.settings.validation_frequency else "epochs"
            self.journal.run.say(f"stopped early: no better {goal.score} than {progress.best:.4f} in {epochs} {what}")

    def save(self) -> None:
        """A checkpoint; running statistics must have been averaged over ranks. It is written while training goes on."""
        self.saved_update = self.progress.update
        if distributed.is_root():
            progress, journal = self.progress, self.journal
            journal.log.start("save", **journal.place)
            lost = self.saver.save(progress.update, self.state.arrays, asdict(progress), progress.best_update)
            journal.log.end("save", **journal.place)
            journal.run.record(kinds.Checkpoint(progress.update, lost))

    def stop_if_warned(self, result: Optional[StepResult]) -> None:
        """Every rank learns of a warning from an update's own exchange.

        result: the update's to be looked at: on CPUs the one before the last, so that training ends one update later;
        on GPUs, where looks are seldom, the last (common.training.interruption).
        """
        if result is None or not float(result.stopped) > 0:
            return
        if self.saved_update != self.progress.update:  # at an epoch's end it may be there already
            self.state.average_statistics()
            self.save()
        self.saver.wait()  # before the others may go: when they have gone, a launcher stops this rank
        names = sorted({name for name in distributed.gather_objects(self.warnings.name) if name})
        raise InterruptedTrainingError(
            f"after update {self.progress.update} by {' and '.join(names)} with a checkpoint: go on with --resume "
            f"{self.journal.run.path}",
            on_all_ranks=True,
        )


def _every(frequency: int, update: int) -> bool:
    return frequency > 0 and update % frequency == 0


def _resume(state: State, task: Task, run: Run, begin: Callable[[], int]) -> Progress:
    """Rank 0 loads the newest checkpoint, or begins; every rank learns the position."""
    now = Progress(ranks=run.began_on, updates_per_epoch=task.batches.steps_per_epoch, data=task.batches.checksum())

    def load() -> Progress:
        checkpoint = checkpoints.load_newest(run / "checkpoints", run.say) if run.resumed else None
        if checkpoint is None:
            now.update = begin()
            return now
        state.restore(checkpoint)
        known = Progress.__dataclass_fields__
        then = Progress(**{key: value for key, value in checkpoint.position.items() if key in known})
        then.update = checkpoint.step
        _check_continuation(checkpoint, then, now)
        then.ranks = now.ranks
        return then

    progress = distributed.on_root(load)
    if run.resumed:
        run.say(f"resuming {run.path} after update {progress.update}")
        run.record(kinds.Resume(progress.update))
    return progress


def _restore_best(state: State, progress: Progress, run: Run) -> None:
    """Give every rank the weights of the best evaluation. A collective call."""
    if progress.best_update in (0, progress.update):
        return

    def load() -> bool:
        try:
            state.restore(checkpoints.load(run / "checkpoints", progress.best_update), only_network=True)
        except checkpoints.DAMAGED as error:
            run.say(f"the best checkpoint, after update {progress.best_update}, is damaged ({error}): the last is kept")
            return False
        return True

    if distributed.on_root(load):
        state.broadcast()
        progress.evaluation = progress.best_evaluation
        run.say(f"the weights are those after update {progress.best_update}, the best ones")


def _check_continuation(checkpoint: checkpoints.Checkpoint, then: Progress, now: Progress) -> None:
    """Raises UserError unless the continuation sees exactly the samples that the run would have seen."""
    if then.data != now.data:
        raise UserError(
            f"{checkpoint.path}: the training files are not those that the run began with (their names, sizes or times "
            "differ): restore them, or start a new run"
        )
    if then.ranks == now.ranks:
        return
    if then.updates_per_epoch != now.updates_per_epoch or checkpoint.step % now.updates_per_epoch:
        raise UserError(
            f"{checkpoint.path}: was saved on {then.ranks} ranks after update {checkpoint.step} of "
            f"{then.updates_per_epoch} per epoch; on {now.ranks} ranks with {now.updates_per_epoch} the run would see "
            f"other samples: resume it on {then.ranks}, or give training.global_batch_size and resume at an epoch's end"
        )

"""The training loop of every benchmark, to be read from top to bottom.

For each update: take the step; check that the loss is finite; record. At an epoch's end, or as often as set: average
the running statistics over ranks, evaluate, save, stop at the target. A scheduler's warning stops all at a checkpoint.
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
from common.runs.folder import Run, check_trained_with
from common.session import Session
from common.training import checkpoints
from common.training.interruption import Warnings, updates_between_checks
from common.training.journal import Journal
from common.training.saver import Saver
from common.training.settings import TrainingSettings
from common.training.state import State
from common.training.step import StepResult, TrainingStep
from common.training.task import Task
from common.training.warmup import warm_up


@dataclass
class Progress:
    """How far a training has come: what a checkpoint holds besides the arrays."""

    update: int = 0  # updates done
    evaluation: dict = field(default_factory=dict)  # the latest scores
    best: Optional[float] = None  # the best score
    best_update: int = 0  # the update after which it was reached
    best_evaluation: dict = field(default_factory=dict)
    epochs_without_gain: int = 0
    target_reached: bool = False
    stopped_early: bool = False
    ranks: int = 1  # ranks that the run began on, which the order of samples is made for
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
    """Train the task's network in place until its goal, from the run's newest checkpoint if it resumes. Collective.

    The timed run begins after the warm-up and ends with the last evaluation.

    begin: called on rank 0 of a run without a checkpoint of its own; sets the initial weights and the optimizer's
    state, and returns the number of updates that they come from.

    Raises UserError on bad data, a loss that is not finite, or a checkpoint that does not fit, and
    InterruptedTrainingError if the scheduler's warning stopped the training.
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
            session.run.say("training.max_validation_steps is set: the log is marked as not a valid submission")
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
        check_frequency = updates_between_checks(self.settings.logging_frequency)
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
            if _every(check_frequency, progress.update):
                self.stop_if_warned(result if check_frequency > 1 else self.last_result)
            self.last_result = result

    def batches(self, last: int, threads: int) -> Iterable:
        """The batches up to update `last`, copied to the device ahead unless accumulation keeps them on the host."""
        dataset = self.task.batches.dataset(self.progress.update, last, parallel=threads)
        accumulates = self.settings.gradient_accumulation_frequency > 1
        return to_device(dataset, dtype=shipped_dtype(self.task.network), ahead=not accumulates)

    def finish_update(self, ends_epoch: bool, ends: bool) -> bool:
        """Record, evaluate and save as set after an update; return whether training is over. ends: it was the last."""
        progress = self.progress
        evaluates, saves = self.evaluates_now(ends_epoch, ends), self.saves_now(ends_epoch, ends)
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
        if saves or self.saves_now(ends_epoch, ends):
            self.state.average_statistics()
            self.save()
        return ends

    def evaluates_now(self, ends_epoch: bool, ends: bool) -> bool:
        frequency = self.settings.validation_frequency
        return ends or _every(frequency, self.progress.update) if frequency else ends_epoch

    def saves_now(self, ends_epoch: bool, ends: bool) -> bool:
        when, frequency, update = self.settings.checkpoints, self.settings.save_frequency, self.progress.update
        if when == "epoch":
            return ends_epoch and _every(frequency or 1, update // self.task.batches.steps_per_epoch)
        return (when != "none" and ends) or (when == "steps" and _every(frequency, update))

    def evaluate(self) -> None:
        """Evaluate the network on the held-out samples, and note whether that ends the training."""
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
            count = progress.epochs_without_gain
            unit = "evaluations" if self.settings.validation_frequency else "epochs"
            self.journal.run.say(f"stopped early: no better {goal.score} than {progress.best:.4f} in {count} {unit}")

    def save(self) -> None:
        """Save a checkpoint, which is written while training continues. Average the running statistics before."""
        self.saved_update = self.progress.update
        if distributed.is_root():
            progress, journal = self.progress, self.journal
            journal.log.start("save", **journal.log_position)
            position = {**asdict(progress), "settings": journal.run.settings}
            lost = self.saver.save(progress.update, self.state.arrays, position, progress.best_update)
            journal.log.end("save", **journal.log_position)
            journal.run.record(kinds.Checkpoint(progress.update, lost))

    def stop_if_warned(self, result: Optional[StepResult]) -> None:
        """Save and stop all ranks if one was warned, of which the exchange of an update informs every rank.

        result: of the update to check: on CPUs the last but one, so that training ends one update later; on GPUs,
        which are checked less often, the last (common.training.interruption).
        """
        if result is None or not float(result.stopped) > 0:
            return
        if self.saved_update != self.progress.update:  # it may have been saved at the epoch's end
            self.state.average_statistics()
            self.save()
        self.saver.wait()  # before the other ranks may end: when one has, a launcher stops this one
        names = sorted({name for name in distributed.gather_objects(self.warnings.name) if name})
        raise InterruptedTrainingError(
            f"after update {self.progress.update} by {' and '.join(names)}, with a checkpoint: continue with --resume "
            f"{self.journal.run.path}",
            on_all_ranks=True,
        )


def _every(frequency: int, update: int) -> bool:
    return frequency > 0 and update % frequency == 0


def _resume(state: State, task: Task, run: Run, begin: Callable[[], int]) -> Progress:
    """Load the newest checkpoint on rank 0, or call `begin`; return the progress on every rank."""
    fresh = Progress(ranks=run.began_on, updates_per_epoch=task.batches.steps_per_epoch, data=task.batches.checksum())

    def load() -> Progress:
        checkpoint = checkpoints.load_newest(run / "checkpoints", run.say) if run.resumed else None
        if checkpoint is None:
            fresh.update = begin()
            return fresh
        check_trained_with(checkpoint.position.get("settings"), run, checkpoint.path)
        state.restore(checkpoint)
        saved = Progress(**{key: value for key, value in checkpoint.position.items() if hasattr(fresh, key)})
        saved.update = checkpoint.step
        _check_same_samples(checkpoint, saved, fresh)
        saved.ranks = fresh.ranks
        return saved

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
        run.say(f"restored the best weights, those after update {progress.best_update}")


def _check_same_samples(checkpoint: checkpoints.Checkpoint, saved: Progress, now: Progress) -> None:
    """Raises UserError unless the resumed run sees exactly the samples that it would have seen without a break."""
    if saved.data != now.data:
        raise UserError(
            f"{checkpoint.path}: the training files are not those that the run began with (their names, sizes or times "
            "differ): restore them, or start a new run"
        )
    if saved.ranks == now.ranks:
        return
    if saved.updates_per_epoch != now.updates_per_epoch or checkpoint.step % now.updates_per_epoch:
        raise UserError(
            f"{checkpoint.path}: was saved on {saved.ranks} ranks after update {checkpoint.step}, with "
            f"{saved.updates_per_epoch} per epoch; on {now.ranks} ranks with {now.updates_per_epoch} the run would see "
            f"other samples: resume on {saved.ranks}, or set training.global_batch_size and resume at an epoch's end"
        )

"""The training loop of both benchmarks: Keras `fit` over a stream of batches, one weight update a step.

A step: gradients of each micro-batch, added up; one reduction over ranks; division by the summed weights; update.
So k micro-batches of b on n ranks take the same step as one batch of k * b * n, whatever pixels carry no weight.
The optimizer clips after the reduction, and its schedule counts updates.
"""

from contextlib import ExitStack
from typing import Callable, Literal, Optional

import numpy as np
import tensorflow as tf
from pydantic import Field

from common import distributed
from common.config.settings import Settings
from common.data.batches import Batches
from common.errors import UserError
from common.runs.folder import Run
from common.runs.mlperf import Log
from common.training import checkpoints
from common.training.journal import (
    STOPPED,
    AverageStatistics,
    Checkpointing,
    Evaluation,
    FiniteLoss,
    Interruption,
    Records,
)

# From a batch and the network's outputs to {name: (sum, weight)}, scalars; the first entry is what training minimises.
Objective = Callable[[tuple, tf.Tensor], dict]


Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]  # Keras' names


class TrainingSettings(Settings):
    local_batch_size: int = Field(
        32, gt=0, description="samples in one forward pass of one rank; the global batch is this x accumulation x ranks"
    )
    global_batch_size: int = Field(
        0, ge=0, description="samples in one weight update over all ranks; if set, local_batch_size follows from it"
    )
    gradient_accumulation_frequency: int = Field(1, gt=0, description="forward and backward passes per weight update")
    precision: Precision = Field(
        "float32", description="arithmetic of layers; weights stay float32: float32 | mixed_bfloat16 | mixed_float16"
    )
    xla: bool = Field(False, description="compile forward and backward pass with XLA")
    compress_allreduce: bool = Field(False, description="exchange gradients between ranks as float16")
    seed: int = Field(1234, ge=0, description="of initial weights and data order")
    deterministic: bool = Field(
        False, description="use only operations whose result never varies from run to run (slower)"
    )
    save_frequency: int = Field(
        0, ge=0, description="updates between checkpoints, besides one after each epoch; 0 is none"
    )
    keep_checkpoints: int = Field(3, gt=0, description="newest checkpoints that are kept")
    logging_frequency: int = Field(10, gt=0, description="updates between records in metrics.jsonl")


def local_batch_size(settings: TrainingSettings, ranks: int) -> int:
    """Samples in one forward pass of one rank. Raises UserError if a given global batch cannot be shared out evenly."""
    if not settings.global_batch_size:
        return settings.local_batch_size
    parts = ranks * settings.gradient_accumulation_frequency
    local, remainder = divmod(settings.global_batch_size, parts)
    if remainder:
        raise UserError(
            f"training.global_batch_size {settings.global_batch_size} cannot be shared evenly by {ranks} ranks x "
            f"{settings.gradient_accumulation_frequency} accumulated passes: use a multiple of {parts}",
            on_all_ranks=True,
        )
    return local


def prepare(settings: TrainingSettings) -> None:
    """Seeds, precision and determinism, before the network is built."""
    tf.keras.utils.set_random_seed(settings.seed)
    tf.keras.mixed_precision.set_global_policy(settings.precision)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()


class Trainer(tf.keras.Model):
    """A network with the step described above as its Keras train_step.

    Batches are tuples [accumulation * local_batch_size, ...]; the first array is the network's input.
    """

    def __init__(self, network: tf.keras.Model, objective: Objective, settings: TrainingSettings):
        super().__init__()
        self.network, self._objective = network, objective
        self._accumulate = settings.gradient_accumulation_frequency
        self._compress = settings.compress_allreduce
        self._gradients = tf.function(self._gradients_of, jit_compile=True) if settings.xla else self._gradients_of
        # Number of the first update whose loss was not finite; 0 is none. Kept in the graph so that the host looks
        # now and then and still names the step.
        self.first_bad_step = tf.Variable(0, trainable=False, dtype=tf.int64, name="first_bad_step")
        # 1 once this rank was asked to stop; its mean travels with the sums, so that all ranks stop at the same step.
        self.asked_to_stop = tf.Variable(0.0, trainable=False, name="asked_to_stop")

    def call(self, inputs, training=None):
        return self.network(inputs, training=training)

    def _gradients_of(self, *batch) -> tuple:
        """Gradients of one micro-batch's summed loss, and its sums and weights, [terms, 2]."""
        with tf.GradientTape() as tape:
            terms = self._objective(batch, self.network(batch[0], training=True))
            loss = next(iter(terms.values()))[0]
            if hasattr(self.optimizer, "get_scaled_loss"):
                loss = self.optimizer.get_scaled_loss(loss)
        gradients = tape.gradient(loss, self.network.trainable_variables)
        if hasattr(self.optimizer, "get_unscaled_gradients"):
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        self._terms = list(terms)
        return gradients, tf.stack([tf.stack([tf.cast(x, tf.float32) for x in pair]) for pair in terms.values()])

    def _accumulated(self, batch: tuple) -> tuple:
        micro = [tf.reshape(x, (self._accumulate, -1, *x.shape[1:])) for x in batch]
        first = self._gradients(*(x[0] for x in micro))

        def add(number, gradients, sums):
            more_gradients, more_sums = self._gradients(*(x[number] for x in micro))
            return number + 1, [a + b for a, b in zip(gradients, more_gradients)], sums + more_sums

        _, gradients, sums = tf.while_loop(
            lambda number, *_: number < self._accumulate, add, (1, *first), parallel_iterations=1
        )
        return gradients, sums

    def train_step(self, batch):
        gradients, sums = self._gradients(*batch) if self._accumulate == 1 else self._accumulated(batch)
        gradients = distributed.average_over_ranks(gradients, self._compress)
        (sums,) = distributed.average_over_ranks([tf.concat([sums, [[self.asked_to_stop, 0.0]]], 0)])  # [terms + 1, 2]
        stopped, sums = sums[-1, 0], sums[:-1]
        weight = tf.maximum(sums[0, 1], 1e-12)
        variables = self.network.trainable_variables
        self.optimizer.apply_gradients([(g / tf.cast(weight, g.dtype), v) for g, v in zip(gradients, variables)])
        values = sums[:, 0] / tf.maximum(sums[:, 1], 1e-12)
        bad = (self.first_bad_step == 0) & ~tf.math.is_finite(values[0])
        # `iterations` already counts this update (a float16 update that is skipped counts as the one after the last).
        self.first_bad_step.assign(tf.where(bad, self.optimizer.iterations, self.first_bad_step))
        return {**dict(zip(self._terms, tf.unstack(values))), STOPPED: stopped}


class State:
    """Everything that a checkpoint holds: weights and optimizer variables, as numpy arrays by name."""

    def __init__(self, trainer: Trainer):
        optimizer = trainer.optimizer
        getattr(optimizer, "inner_optimizer", optimizer).build(trainer.network.trainable_variables)
        groups = {"network": trainer.network.variables, "optimizer": list(optimizer.variables)}
        if hasattr(optimizer, "dynamic_counter"):
            # Keras does not count these among the optimizer's variables, nor give the scale's variable a public name.
            groups["loss_scale"] = [optimizer._loss_scale.current_loss_scale, optimizer.dynamic_counter]
        self.variables = {
            f"{group}/{number:04d}/{variable.name}": variable
            for group, variables in groups.items()
            for number, variable in enumerate(variables)
        }

    def arrays(self) -> dict:
        return {name: variable.numpy() for name, variable in self.variables.items()}

    def restore(self, checkpoint: checkpoints.Checkpoint) -> None:
        """Set all variables. Raises UserError if the checkpoint is of another network or optimizer."""
        ours = [tuple(variable.shape) for variable in self.variables.values()]
        theirs = [array.shape for array in checkpoint.arrays.values()]
        if ours != theirs:
            raise UserError(
                f"{checkpoint.path}: is of another network or optimizer ({len(theirs)} arrays, {len(ours)} expected)"
            )
        for variable, array in zip(self.variables.values(), checkpoint.arrays.values()):
            variable.assign(array)


def segments(first_step: int, steps_per_epoch: int, epochs: int) -> list:
    """Calls of Keras `fit` that go from update `first_step` to the end: (first epoch, one past the last, steps each).

    An epoch that was interrupted gets a call of its own, since Keras runs equally many steps in every epoch of a call.
    """
    epoch, done = divmod(first_step, steps_per_epoch)
    calls = [(epoch, epoch + 1, steps_per_epoch - done)] if done and epoch < epochs else []
    epoch += 1 if done else 0
    return calls + ([(epoch, epochs, steps_per_epoch)] if epoch < epochs else [])


def fit(
    network: tf.keras.Model,
    objective: Objective,
    batches: Batches,
    evaluate: Callable[[], dict],
    score: str,
    optimizer: tf.keras.optimizers.Optimizer,
    settings: TrainingSettings,
    epochs: int,
    target: float,
    run: Run,
    log: Log,
    threads: int,
    tensorboard: bool = True,
    gflop_per_sample: float = 0.0,
) -> dict:
    """Train `network` in place for `epochs` or to the target, going on from the run's checkpoint if it resumed.

    evaluate: a collective call that returns {score name: value}; `score` names the one that the target (0: none) is
    set for. gflop_per_sample: work of one sample's forward and backward pass; if given, TFLOP/s are recorded.
    Running statistics of batch norms are averaged over ranks before each evaluation and each checkpoint.
    Returns {"updates", "epochs", "training_seconds", "samples_per_second", "evaluation", "target_reached"}.
    """
    trainer = Trainer(network, objective, settings)
    trainer.compile(optimizer=optimizer)
    state = State(trainer)
    step, position = _restore(state, run)
    distributed.broadcast_variables(list(state.variables.values()))

    with ExitStack() as stack:
        records = Records(run, log, settings, epochs, batches, step, score, gflop_per_sample, tensorboard, stack)
        evaluation = Evaluation(records, evaluate, score, target, position)
        saving = Checkpointing(run, state, settings, records, evaluation)
        averaging = AverageStatistics(settings, records)
        steps = [FiniteLoss(settings, records), records, averaging, evaluation, saving]
        steps.append(Interruption(run, records, averaging, saving, stack))
        if not evaluation.reached:
            _fit(trainer, batches, step, epochs, steps, threads)
    return {**records.summary(), "evaluation": evaluation.latest, "target_reached": evaluation.reached}


def _restore(state: State, run: Run) -> tuple:
    """Rank 0 loads the newest checkpoint; every rank learns the position: (updates done, {...})."""

    def load() -> Optional[tuple]:
        found = checkpoints.load_newest(run / "checkpoints", run.say) if run.resumed else None
        if found is None:
            return None
        state.restore(found)
        return found.step, found.position

    step, position = distributed.on_root(load) or (0, {})
    if run.resumed:
        run.say(f"resuming {run.path} after update {step}")
        run.record("resume", step=step)
    return step, position


def _fit(trainer: Trainer, batches: Batches, step: int, epochs: int, steps_around: list, threads: int) -> None:
    try:
        for first, last, steps in segments(step, batches.steps_per_epoch, epochs):
            stream = batches.dataset(step, last * batches.steps_per_epoch, parallel=threads)
            calls = {"initial_epoch": first, "epochs": last, "steps_per_epoch": steps}
            trainer.fit(stream, **calls, callbacks=steps_around, verbose=0)
            step = last * batches.steps_per_epoch
            if trainer.stop_training:
                break
    except tf.errors.OpError as error:
        raise batches.problem(error) from None


def sum_over_batches(
    batches: Batches, measure: Callable[[tuple], np.ndarray], entries: int, threads: int
) -> np.ndarray:
    """measure(batch), an array of `entries` sums, added up over all batches of all ranks. A collective call."""
    sums, problem = np.zeros(entries), None
    try:
        for batch in batches.dataset(parallel=threads):
            sums += measure(batch)
    except tf.errors.OpError as error:
        problem = batches.problem(error)
        if not isinstance(problem, UserError):
            raise
    distributed.raise_together(problem)
    return distributed.sum_over_ranks(sums)


def forward(network: tf.keras.Model, xla: bool = False) -> Callable[[np.ndarray], tf.Tensor]:
    """The network's inference pass as a compiled function."""
    return tf.function(lambda images: network(images, training=False), jit_compile=xla or None, reduce_retracing=True)

"""One weight update of all ranks.

The gradients of each micro-batch are added up, reduced once over ranks, and divided by the summed weights. So k
micro-batches of b samples on n ranks take the same step as one batch of k * b * n, also where some pixels carry no
weight. The optimizer clips after the reduction, and its schedule counts updates.
"""

from functools import partial
from typing import NamedTuple

import tensorflow as tf

from common import distributed
from common.errors import UserError
from common.keras import precision
from common.training import recompute
from common.training.settings import TrainingSettings
from common.training.task import Objective


def prepare(settings: TrainingSettings) -> None:
    """Set seeds, precision and determinism, before the network is built. A collective call.

    Raises:
        UserError: if a GPU does not support the precision.
    """
    tf.keras.utils.set_random_seed(settings.seed)
    precision.apply("training", settings)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()


class StepResult(NamedTuple):
    """An update's result. terms: the objective's means over the global batch. stopped: share of ranks asked to stop."""

    terms: dict[str, tf.Tensor]
    stopped: tf.Tensor


class TrainingStep:
    """A function that updates the network's weights, compiled. Each call is collective.

    It takes a batch, a tuple of tensors [accumulation * local batch, ...] of which the first is the network's input.
    """

    def __init__(
        self,
        network: tf.keras.Model,
        optimizer: tf.keras.optimizers.Optimizer,
        objective: Objective,
        settings: TrainingSettings,
    ):
        self.network, self.optimizer, self._objective = network, optimizer, objective
        self._forward = recompute.training_pass(network) if settings.recompute else partial(network, training=True)
        self._accumulate = settings.gradient_accumulation_frequency
        self._compress = settings.compress_allreduce
        self._gradients = (
            tf.function(self._gradients_of, jit_compile=True, autograph=False) if settings.xla else self._gradients_of
        )
        self._scales_loss = hasattr(optimizer, "get_scaled_loss")
        getattr(optimizer, "inner_optimizer", optimizer).build(network.trainable_variables)
        self._terms: list[str] = []
        # Number of the first update whose loss or gradient was not finite; 0 is none. Kept in the graph, so that the
        # host can check only now and then and still name the update.
        self.first_bad_update = tf.Variable(0, trainable=False, dtype=tf.int64, name="first_bad_update")
        self._bad_loss = tf.Variable(False, trainable=False, name="bad_loss")
        # 1 once this rank was asked to stop; exchanged with the sums, so that all ranks stop at the same update.
        self._asked_to_stop = tf.Variable(0.0, trainable=False, name="asked_to_stop")
        # No Python statement in it depends on a tensor; autograph's search for some takes a third of the tracing.
        self._compiled = tf.function(self._update, autograph=False)

    def __call__(self, batch: tuple) -> StepResult:
        return self._compiled(batch)

    def ask_to_stop(self) -> None:
        """Tell all ranks to stop, with the next update."""
        self._asked_to_stop.assign(1.0)

    @property
    def learning_rate(self) -> float:
        """The rate of the last update."""
        return float(self.optimizer.learning_rate)

    def forget_bad(self) -> None:
        """Forget that a loss or gradient was not finite."""
        self.first_bad_update.assign(0)
        self._bad_loss.assign(False)

    def check_finite(self) -> None:
        """Raises UserError on every rank if a loss or a gradient was NaN or infinite.

        Both are means over ranks, so all ranks see the same. A network with ReLUs can hide NaN weights from the loss,
        but not from the gradients.
        """
        update = int(self.first_bad_update)
        if update:
            what = "the loss" if bool(self._bad_loss) else "the gradient, though not the loss,"
            raise UserError(
                f"{what} is NaN or infinite at update {update}: lower optimizer.start_lr, add warm-up, or set "
                "optimizer.max_grad_norm; earlier checkpoints are kept",
                on_all_ranks=True,
            )

    def _gradients_of(self, *batch) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return the gradients of one micro-batch's summed loss, scaled if loss scaling is on, and its sums and
        weights, [terms, 2]."""
        with tf.GradientTape() as tape:
            terms = self._objective(batch, self._forward(batch[0]))
            loss = terms["loss"][0]
            if self._scales_loss:
                loss = self.optimizer.get_scaled_loss(loss)
        gradients = tape.gradient(loss, self.network.trainable_variables)
        self._terms = list(terms)
        return gradients, tf.stack([tf.stack([tf.cast(x, tf.float32) for x in pair]) for pair in terms.values()])

    def _accumulated(self, batch: tuple) -> tuple[list[tf.Tensor], tf.Tensor]:
        # Micro-batches wait in host memory, where the pipeline made them: a GPU holds one at a time.
        with tf.device("CPU:0"):
            micro = [tf.reshape(x, (self._accumulate, -1, *x.shape[1:])) for x in batch]

        def take(number) -> list[tf.Tensor]:
            with tf.device("CPU:0"):
                return [x[number] for x in micro]

        first = self._gradients(*take(0))

        def add(number, gradients, sums):
            more_gradients, more_sums = self._gradients(*take(number))
            return number + 1, [a + b for a, b in zip(gradients, more_gradients)], sums + more_sums

        _, gradients, sums = tf.while_loop(
            lambda number, *_: number < self._accumulate, add, (1, *first), parallel_iterations=1
        )
        return gradients, sums

    def _update(self, batch: tuple) -> StepResult:
        gradients, sums = self._gradients(*batch) if self._accumulate == 1 else self._accumulated(batch)
        gradients = distributed.average_over_ranks(gradients, compress=self._compress)
        if self._scales_loss:  # after the exchange: unscaled gradients may lie below 6e-8, float16's smallest number
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        (sums,) = distributed.average_over_ranks([tf.concat([sums, [[self._asked_to_stop, 0.0]]], 0)])  # [terms + 1, 2]
        stopped, sums = sums[-1, 0], sums[:-1]
        weight = tf.maximum(sums[self._terms.index("loss"), 1], 1e-12)
        gradients = [gradient / tf.cast(weight, gradient.dtype) for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, self.network.trainable_variables))
        means = sums[:, 0] / tf.maximum(sums[:, 1], 1e-12)
        terms = dict(zip(self._terms, tf.unstack(means)))
        self._note_bad(terms["loss"], gradients)
        return StepResult(terms, stopped)

    def _note_bad(self, loss: tf.Tensor, gradients: list[tf.Tensor]) -> None:
        bad_loss = ~tf.math.is_finite(loss)
        bad = bad_loss
        if not self._scales_loss:  # with loss scaling an overflow now and then is normal, and its update is skipped
            bad |= ~tf.math.is_finite(tf.linalg.global_norm(gradients))
        new = bad & (self.first_bad_update == 0)
        # `iterations` already counts this update (a skipped float16 update counts as the one after the last).
        self._bad_loss.assign(tf.where(new, bad_loss, self._bad_loss))
        self.first_bad_update.assign(tf.where(new, self.optimizer.iterations, self.first_bad_update))

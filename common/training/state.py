"""Everything that a checkpoint holds of a training step: weights and optimizer variables, as numpy arrays by name."""

import numpy as np
import tensorflow as tf

from common import distributed
from common.errors import UserError
from common.keras.files import check_finite
from common.training.checkpoints import Checkpoint
from common.training.step import TrainingStep


class State:
    """The variables of a training step: to save, to restore, and to make the same on all ranks."""

    def __init__(self, step: TrainingStep):
        optimizer = step.optimizer
        groups = {"network": step.network.variables, "optimizer": list(optimizer.variables)}
        if hasattr(optimizer, "dynamic_counter"):
            # Keras does not list these among the optimizer's variables, and the scale's has no public name.
            groups["loss_scale"] = [optimizer._loss_scale.current_loss_scale, optimizer.dynamic_counter]
        self.variables = {
            f"{group}/{number:04d}/{variable.name}": variable
            for group, variables in groups.items()
            for number, variable in enumerate(variables)
        }
        self._statistics = step.network.non_trainable_variables

    def arrays(self) -> dict:
        """Return {name: value}, copies that later updates do not change."""
        return {name: np.array(variable.numpy()) for name, variable in self.variables.items()}

    def restore(self, checkpoint: Checkpoint, only_network: bool = False) -> None:
        """Set all variables, or only the network's.

        Raises:
            UserError: if the checkpoint belongs to another network or optimizer, or holds NaN or infinite values.
        """
        expected = [tuple(variable.shape) for variable in self.variables.values()]
        given = [array.shape for array in checkpoint.arrays.values()]
        if given != expected:
            raise UserError(
                f"{checkpoint.path}: is of another network or optimizer ({len(given)} arrays, {len(expected)} expected)"
            )
        check_finite(checkpoint.arrays.items(), checkpoint.path)
        self.assign(list(checkpoint.arrays.values()), only_network)

    def assign(self, arrays: list[np.ndarray], only_network: bool = False) -> None:
        """Set all variables, or only the network's, from arrays in the order of `arrays()`."""
        for (name, variable), array in zip(self.variables.items(), arrays):
            if name.startswith("network/") or not only_network:
                variable.assign(array)

    def broadcast(self) -> None:
        """Copy rank 0's values to every rank. A collective call."""
        distributed.broadcast_variables(list(self.variables.values()))

    def average_statistics(self) -> None:
        """Set the batch norms' running statistics on every rank to their mean over ranks. A collective call.

        Ranks see different samples; without this, an evaluation would depend on whose statistics were used.
        """
        if distributed.size() == 1 or not self._statistics:
            return
        # As one tensor: outside a graph each exchange would be waited for, one Horovod cycle each.
        flat = tf.concat([tf.reshape(variable, [-1]) for variable in self._statistics], 0)
        (mean,) = distributed.average_over_ranks([flat])
        parts = tf.split(mean, [variable.shape.num_elements() for variable in self._statistics])
        for variable, part in zip(self._statistics, parts):
            variable.assign(tf.reshape(part, variable.shape))

"""What a run has trained: its best checkpoint, and that checkpoint's weights in a network."""

from pathlib import Path

import tensorflow as tf

from common.errors import UserError
from common.keras.files import check_finite
from common.runs.kinds import Epoch, Evaluation
from common.runs.records import evaluations_by_step, read_records
from common.training import checkpoints


def best_step(folder: Path, score: str) -> int:
    """Find the checkpoint with the best score that a run has kept; the newest if none was evaluated.

    Args:
        folder: the run's.
        score: name of the score by which networks are compared, the higher the better.

    Returns:
        Its update.

    Raises:
        UserError: if there are no checkpoints.
    """
    steps = checkpoints.list_steps(folder / "checkpoints")
    if not steps:
        raise UserError(f"{folder}: holds no checkpoints and no saved network; give a file of weights instead")
    evaluations = evaluations_by_step(read_records(folder / "metrics.jsonl", Epoch.kind, Evaluation.kind))
    scores = {step: values.get(score, 0.0) for step, values in evaluations.items() if step in steps}
    return max(scores, key=lambda step: (scores[step], step)) if scores else steps[-1]


def best_checkpoint(folder: Path, score: str) -> checkpoints.Checkpoint:
    """Load the checkpoint that `best_step` finds. Raises UserError, also if it is damaged."""
    step = best_step(folder, score)
    try:
        return checkpoints.load(folder / "checkpoints", step)
    except checkpoints.DAMAGED as error:
        raise UserError(f"{folder}: the checkpoint of update {step} is damaged ({error})") from error


def set_weights(network: tf.keras.Model, checkpoint: checkpoints.Checkpoint) -> None:
    """Give a network the weights of a checkpoint.

    Raises:
        UserError: if it is of another network, or holds values that are not finite.
    """
    values = [array for name, array in checkpoint.arrays.items() if name.startswith("network/")]
    if [array.shape for array in values] != [tuple(variable.shape) for variable in network.variables]:
        raise UserError(f"{checkpoint.path}: is of another network than the one that was built for it")
    check_finite(
        ((name, array) for name, array in checkpoint.arrays.items() if name.startswith("network/")), checkpoint.path
    )
    for variable, array in zip(network.variables, values):
        variable.assign(array)

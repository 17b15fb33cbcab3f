"""Export of a run's checkpoint as a file from which the reference program continues, with its --checkpoint."""

from pathlib import Path
from typing import Optional

from common.errors import UserError
from common.optim import optimizers
from common.optim.schedules import Schedule
from common.training import checkpoints
from common.training.state import State
from common.training.step import TrainingStep, prepare
from tf_deepcam import config as settings
from tf_deepcam.data.samples import CLASSES
from tf_deepcam.network import deeplab, reference_checkpoint, weights
from tf_deepcam.network.reference_checkpoint import Position
from tf_deepcam.task import objective


def main(folder: str, target: str, update: Optional[int]) -> int:
    """Write a run's checkpoint in the reference's format.

    Args:
        folder: the run's.
        target: the .cpt file to write.
        update: of the checkpoint; None is the newest at the end of an epoch, where the reference writes its own.

    Returns:
        The exit code.

    Raises:
        UserError: if there is no such checkpoint, or the file exists or cannot be written.
    """
    run, path = Path(folder).expanduser(), Path(target).expanduser()
    if path.suffix not in (".cpt", ".pth"):
        raise UserError(f"--to {path}: the reference's checkpoints are .cpt files")
    if path.exists():
        raise UserError(f"{path}: exists already and is left as it is; choose another file")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder")
    weights.torch_for(path)
    if not (run / "config.yaml").is_file():
        raise UserError(f"{run}: is not a run folder (it has no config.yaml)")
    config = settings.load(str(run / "config.yaml"))
    checkpoint = at_epoch_end(run / "checkpoints", update)
    epoch = checkpoint.step // checkpoint.position["updates_per_epoch"]
    prepare(config.training)
    network = deeplab.deeplab(len(config.data.channels), CLASSES, **config.model.form())
    ranks = checkpoint.position["ranks"]
    scale_loss = config.training.precision == "mixed_float16"
    optimizer = optimizers.build(config.optimizer, config.schedule, ranks=ranks, scale_loss=scale_loss)
    State(TrainingStep(network, optimizer, objective(config.loss), config.training)).restore(checkpoint)
    updates = int(optimizer.iterations)
    position = Position(checkpoint.step * config.training.gradient_accumulation_frequency, epoch, updates)
    rate = Schedule(optimizers.scaled_learning_rate(config.optimizer, ranks), config.schedule)(updates)
    content = reference_checkpoint.to_reference(network, optimizer, config.optimizer, position, float(rate))
    reference_checkpoint.save(content, path)
    print(f"{path}: {checkpoint.path} as the reference's checkpoint of step {position.step}, epoch {epoch}")
    return 0


def at_epoch_end(folder: Path, update: Optional[int]) -> checkpoints.Checkpoint:
    """Load the checkpoint of an update, or the newest, which must be at the end of an epoch.

    Raises:
        UserError: if there is no such checkpoint.
    """
    steps = checkpoints.list_steps(folder)
    if not steps or (update is not None and update not in steps):
        existing = f"there are {', '.join(map(str, steps))}" if steps else "there are none"
        raise UserError(f"{folder}: holds no checkpoint{'' if update is None else f' of update {update}'}: {existing}")
    for step in reversed(steps) if update is None else [update]:
        try:
            checkpoint = checkpoints.load(folder, step)
        except checkpoints.DAMAGED as error:
            raise UserError(f"{folder}: the checkpoint of update {step} is damaged ({error})") from error
        per_epoch = checkpoint.position["updates_per_epoch"]
        if step % per_epoch == 0:
            return checkpoint
    raise UserError(
        f"{folder}: update {step} is not the end of an epoch, from which alone the reference continues: an epoch has "
        f"{per_epoch} updates; choose a multiple of that with --step, or train until one"
    )

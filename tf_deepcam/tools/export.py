"""A run's checkpoint as the file that the reference program goes on from: `reference --checkpoint FILE.cpt`."""

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
    """update: of the checkpoint; None is the newest at an epoch's end, where the reference's own files are made."""
    run, path = Path(folder).expanduser(), Path(target).expanduser()
    if path.suffix not in (".cpt", ".pth"):
        raise UserError(f"--to {path}: a file of the reference ends in .cpt")
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
    found = reference_checkpoint.to_reference(network, optimizer, config.optimizer, position, float(rate))
    reference_checkpoint.save(found, path)
    print(f"{path}: {checkpoint.path} as the reference's checkpoint of step {position.step}, epoch {epoch}")
    return 0


def at_epoch_end(folder: Path, update: Optional[int]) -> checkpoints.Checkpoint:
    steps = checkpoints.list_steps(folder)
    if not steps or (update is not None and update not in steps):
        there = f"there are {', '.join(map(str, steps))}" if steps else "there are none"
        raise UserError(f"{folder}: holds no checkpoint{'' if update is None else f' of update {update}'}: {there}")
    for step in reversed(steps) if update is None else [update]:
        try:
            checkpoint = checkpoints.load(folder, step)
        except checkpoints.DAMAGED as error:
            raise UserError(f"{folder}: the checkpoint of update {step} is damaged ({error})") from error
        per_epoch = checkpoint.position["updates_per_epoch"]
        if step % per_epoch == 0:
            return checkpoint
    raise UserError(
        f"{folder}: update {step} is none of an epoch's end, where the reference goes on from: an epoch has "
        f"{per_epoch} updates; choose one of its multiples with --step, or train on to one"
    )

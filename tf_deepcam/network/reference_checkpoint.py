"""The reference program's whole checkpoint: weights, the optimizer's state, step and epoch.

The file is a dict {step, epoch, model, optimizer}, which the reference writes at the end of an epoch and reads with its
--checkpoint. `step` counts batches of a rank, every accumulated one included; `epoch` counts epochs done. `optimizer`
numbers parameters in the order in which the reference's modules register them (PyTorch's Module.parameters()):

- Adam, AdamW (torch.optim):  state[number] = {step, exp_avg, exp_avg_sq}
- LAMB (APEX's FusedLAMB):    state[number] = {exp_avg, exp_avg_sq}, the step is in param_groups[0]

Both moments have their weight's shape and order of axes. Names are without "module.": the reference loads a file before
it wraps the network, although it saves the wrapped one. Arrays here are NumPy's; PyTorch is needed only for the file.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common.errors import UserError, storage_problem
from common.keras.files import check_finite
from common.optim.settings import OptimizerSettings
from tf_deepcam.network import weights
from tf_deepcam.network.weights import Entry

# Names of modules and arrays, ordered so that of any two in one module the one that is registered first comes first.
_REGISTERED = [
    *("xception_features", "bottleneck", "deconv1", "conv1", "bn1", "conv2", "bn2", "upsample", "deconv2"),
    *("last_deconv", *(f"block{number}" for number in range(1, 21)), "conv3", "bn3", "conv4", "bn4", "conv5", "bn5"),
    *("aspp1", "aspp2", "aspp3", "aspp4", "global_avg_pool", "global_average_pool", "atrous_convolution", "conv"),
    *("skip", "skipbn", "rep", "pointwise", "bn", "weight", "weights", "bias", "running_mean", "running_var"),
]
_MOMENTS = ("exp_avg", "exp_avg_sq")
_ONLY_WEIGHTS = "model.checkpoint_resumes=false starts from its weights alone"


class Position(NamedTuple):
    """How far a training has come."""

    step: int  # batches of a rank
    epoch: int  # epochs done
    updates: int  # of the weights, as the optimizer counts them


class Pace(NamedTuple):
    """Settings of the training that continues from a checkpoint."""

    accumulation: int
    updates_per_epoch: int
    max_epochs: int


def registered(network: tf.keras.Model) -> list[Entry]:
    """List the network's arrays in the order in which the reference registers them."""

    def order(entry: Entry) -> list[int]:
        return [int(word) if word.isdigit() else _REGISTERED.index(word) for word in entry.name.split(".")]

    return sorted(weights.entries(network), key=order)


def parameters(network: tf.keras.Model) -> list[Entry]:
    """List the trainable arrays in that order, which the optimizer's numbers count."""
    return [entry for entry in registered(network) if not entry.name.endswith(("running_mean", "running_var"))]


def to_reference(
    network: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
    settings: OptimizerSettings,
    position: Position,
    learning_rate: float,
) -> dict[str, Any]:
    """Make the reference's checkpoint, with NumPy arrays.

    Args:
        network: its weights and statistics.
        optimizer: its moments.
        settings: of the optimizer.
        position: how far the training has come.
        learning_rate: of the next update.
    """
    model = {}
    for entry in registered(network):
        model[entry.name] = entry.to_torch(entry.variable.numpy())
        if entry.name.endswith("running_var"):
            counter = entry.name.replace("running_var", "num_batches_tracked")
            model[counter] = np.array(position.step, np.int64)
    state: dict[int, dict[str, Any]] = {}
    trained = parameters(network)
    for number, entry in enumerate(trained):
        moments = _inner(optimizer).moments(entry.variable)
        state[number] = {name: entry.to_torch(moment.numpy()) for name, moment in zip(_MOMENTS, moments)}
        if settings.optimizer != "LAMB":
            state[number] = {"step": position.updates, **state[number]}
    group = {
        "lr": learning_rate,
        "betas": tuple(settings.optimizer_betas),
        "eps": settings.eps,
        "weight_decay": settings.weight_decay,
        **_own_options(settings, position.updates),
        "params": list(range(len(trained))),
    }
    return {
        "step": position.step,
        "epoch": position.epoch,
        "model": model,
        "optimizer": {"state": state, "param_groups": [group]},
    }


def _own_options(settings: OptimizerSettings, updates: int) -> dict[str, Any]:
    """Return what only this optimizer has in its group; older versions of PyTorch ignore options unknown to them."""
    if settings.optimizer == "LAMB":
        return {
            "bias_correction": True,
            "grad_averaging": True,
            "max_grad_norm": settings.clip_norm,
            "step": updates,
        }
    if settings.optimizer not in ("Adam", "AdamW"):
        raise UserError(f"optimizer.optimizer: {settings.optimizer} has no form in the reference's checkpoints")
    return {"amsgrad": False, "decoupled_weight_decay": settings.optimizer == "AdamW"}


def from_reference(
    checkpoint: Any,
    network: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
    settings: OptimizerSettings,
    source: Path,
) -> Position:
    """Set weights, statistics, moments and the number of updates from a checkpoint.

    Args:
        checkpoint: the content of the file `source`.
        network, optimizer: receive what it holds.
        settings: of the optimizer, which must be those of the checkpoint.

    Raises:
        UserError: before anything is changed, if the checkpoint is not of this network and optimizer.
    """
    for key in ("step", "epoch", "model", "optimizer"):
        if not isinstance(checkpoint, dict) or key not in checkpoint:
            raise UserError(f"{source}: holds no '{key}', so training cannot continue from it; {_ONLY_WEIGHTS}")
    if not isinstance(checkpoint["model"], dict) or not all(isinstance(name, str) for name in checkpoint["model"]):
        raise UserError(f"{source}: its 'model' is not a state dict, {{name: tensor}}")
    group, state = _group_and_state(checkpoint["optimizer"], source)
    _check_optimizer(group, settings, source)
    trained = parameters(network)
    if len(group["params"]) != len(trained):
        raise UserError(f"{source}: its optimizer has {len(group['params'])} parameters, {len(trained)} expected")
    moments = [_moments(entry, state.get(key), source) for entry, key in zip(trained, group["params"])]
    counts = {_count(holder.get("step"), "the optimizer's step", source) for holder in _counters(group, state)}
    if len(counts) != 1:
        raise UserError(f"{source}: its parameters have {len(counts)} different step counts; {_ONLY_WEIGHTS}")
    step, epoch = (_count(checkpoint[key], key, source) for key in ("step", "epoch"))
    position = Position(step, epoch, counts.pop())
    weights.from_arrays(network, checkpoint["model"], str(source))
    for entry, arrays in zip(trained, moments):
        for variable, array in zip(_inner(optimizer).moments(entry.variable), arrays):
            variable.assign(array)
    _inner(optimizer).iterations.assign(position.updates)
    return position


def _inner(optimizer: tf.keras.optimizers.Optimizer) -> Any:
    """The optimizer inside the one that scales the loss, if there is one."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _group_and_state(content: Any, source: Path) -> tuple[dict, dict]:
    groups = content.get("param_groups") if isinstance(content, dict) else None
    state = content.get("state") if isinstance(content, dict) else None
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(state, dict):
        raise UserError(f"{source}: its optimizer is not a state dict of one group of parameters; {_ONLY_WEIGHTS}")
    params = groups[0].get("params") if isinstance(groups[0], dict) else None
    if not isinstance(params, list) or not all(isinstance(key, int) for key in params):
        raise UserError(f"{source}: its optimizer's group names no parameters; {_ONLY_WEIGHTS}")
    return groups[0], state


def _check_optimizer(group: dict, settings: OptimizerSettings, source: Path) -> None:
    """Check that file and settings agree: the reference takes these values from the file, this program does not."""
    kinds: tuple[str, ...] = ("Adam", "AdamW")  # alike in files of PyTorch before 2.6
    if "grad_averaging" in group:
        kinds = ("LAMB",)
    elif "decoupled_weight_decay" in group:
        kinds = ("AdamW",) if group["decoupled_weight_decay"] else ("Adam",)
    if settings.optimizer not in kinds:
        raise UserError(
            f"{source}: was saved with {' or '.join(kinds)}, optimizer.optimizer is {settings.optimizer}; "
            f"set optimizer.optimizer={kinds[0]}, or {_ONLY_WEIGHTS}"
        )
    ours: dict[str, Any] = {
        "betas": settings.optimizer_betas,
        "eps": settings.eps,
        "weight_decay": settings.weight_decay,
    }
    for key, value in ours.items():
        theirs: Any = group.get(key)
        try:
            same = bool(np.allclose(theirs, value, rtol=1e-6, atol=0))
        except (TypeError, ValueError):
            same = False
        if not same:
            name = "optimizer_betas" if key == "betas" else key
            raise UserError(f"{source}: was saved with {key} {theirs}, optimizer.{name} is {value}: set the same")


def _moments(entry: Entry, state: Any, source: Path) -> list[np.ndarray]:
    arrays = []
    for name in _MOMENTS:
        array: Any = state.get(name) if isinstance(state, dict) else None
        if not isinstance(array, np.ndarray):
            raise UserError(f"{source}: its optimizer holds no {name} of '{entry.name}'; {_ONLY_WEIGHTS}")
        if tuple(array.shape) != entry.shape:
            shapes = f"{tuple(array.shape)}, {entry.shape} expected"
            raise UserError(f"{source}: {name} of '{entry.name}' has shape {shapes}: is it of another network?")
        check_finite([(f"{name} of {entry.name}", array)], source)
        arrays.append(entry.from_torch(array))
    return arrays


def _counters(group: dict, state: dict) -> list[dict]:
    """The dictionaries whose "step" counts updates."""
    return [group] if "grad_averaging" in group else [state[key] for key in group["params"]]


def _count(value: Any, name: str, source: Path) -> int:
    """A whole number from 1 on, which the file may hold as a tensor."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UserError(f"{source}: {name} is not a number; {_ONLY_WEIGHTS}") from None
    if not number.is_integer() or number < 1:
        raise UserError(f"{source}: {name} is {number:g}, a whole number from 1 on expected; {_ONLY_WEIGHTS}")
    return int(number)


def updates_done(position: Position, pace: Pace, source: Path) -> int:
    """Return the number of updates after which training continues from a checkpoint.

    Args:
        position: how far the checkpoint's training had come.
        pace: of the training here.
        source: the file, for messages.

    Raises:
        UserError: if the training here would not be at the beginning of an epoch, or would be over.
    """
    passes = position.step // position.updates  # with a remainder if updates with infinities were skipped
    if passes != pace.accumulation:
        raise UserError(
            f"{source}: its {position.updates} updates in {position.step} steps are {passes} steps per update: set "
            f"training.gradient_accumulation_frequency={passes}, found {pace.accumulation}"
        )
    if position.step != position.epoch * pace.updates_per_epoch * pace.accumulation:
        raise UserError(
            f"{source}: its {position.epoch} epochs have {position.step} steps, so "
            f"{position.step / position.epoch / passes:g} updates per epoch; here they have {pace.updates_per_epoch}: "
            f"use the same samples and global batch, or {_ONLY_WEIGHTS}"
        )
    if position.epoch >= pace.max_epochs:
        raise UserError(
            f"{source}: is of epoch {position.epoch}, training.max_epochs is {pace.max_epochs}: nothing is left"
        )
    return position.epoch * pace.updates_per_epoch


def load(path: str) -> tuple[Any, Path]:
    """Read a .cpt file; return its content and its path. Raises UserError if it cannot be read."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    return weights.load_torch(file), file


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint of to_reference. Raises UserError if the file exists or cannot be written."""
    torch = weights.torch_for(path)
    temporary = path.with_name(f".{path.name}.tmp")

    def tensors(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: tensors(value) for key, value in tree.items()}
        return torch.from_numpy(tree) if isinstance(tree, np.ndarray) else tree

    try:
        torch.save({key: tensors(value) for key, value in checkpoint.items()}, temporary)
        if path.exists():
            raise UserError(f"{path}: exists already and is left as it is; choose another file")
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # PyTorch's writer raises RuntimeError
        raise UserError(f"{path}: cannot be written ({storage_problem(error, path.parent)})") from error
    finally:
        temporary.unlink(missing_ok=True)

"""Loading trained networks from a Keras file, a run's folder or a file of weights."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from common.errors import UserError
from common.keras.files import check_finite, layer_settings, load_weights
from common.runs.records import evaluations_by_step, read_records
from common.training import checkpoints
from tf_deepcam import config
from tf_deepcam.data.samples import CLASSES
from tf_deepcam.network import deeplab, weights
from tf_deepcam.network.normalization import GroupBatchNormalization

_BLOCK = "xception_features.block"
# Layers and their channels at width 1: one layer for each number of channels that occurs.
_CHANNELS = {
    "xception_features.conv1": 32,
    "xception_features.conv2": 64,
    "xception_features.block1.rep.0.pointwise": 128,
    "xception_features.block2.rep.0.pointwise": 256,
    "xception_features.block3.rep.0.pointwise": 728,
    "xception_features.block20.rep.3.pointwise": 1024,
    "xception_features.conv3.pointwise": 1536,
    "xception_features.conv5.pointwise": 2048,
}


def load(path: str, settings: config.ModelSettings, channels: int) -> tf.keras.Model:
    """Load a trained network, under the current precision policy.

    Args:
        path: a .keras file; a run's folder, whose checkpoint with the best validation IoU is taken; or weights by the
            reference's names (.cpt, .pth, .npz, .safetensors).
        settings: the network's form, which files of weights do not hold.
        channels: number of channels of the samples.

    Raises:
        UserError: if the file is missing, damaged, or of another network.
    """
    source = Path(path).expanduser()
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; train a network, or set inference.model_file")
    if source.is_dir():
        return _from_run(source, channels)
    if source.suffix == ".keras":
        return _from_keras(source, channels)
    network = deeplab.deeplab(channels, CLASSES, **settings.form())
    weights.load(network, source)
    return network


def _from_run(folder: Path, channels: int) -> tf.keras.Model:
    settings = config.load(str(folder / "config.yaml"))
    if len(settings.data.channels) != channels:
        raise UserError(f"{folder}: was trained on {len(settings.data.channels)} channels, the samples have {channels}")
    network = deeplab.deeplab(channels, CLASSES, **settings.model.form())
    arrays = best_checkpoint(folder).arrays
    values = [array for name, array in arrays.items() if name.startswith("network/")]
    if [array.shape for array in values] != [tuple(variable.shape) for variable in network.variables]:
        raise UserError(f"{folder}: its checkpoint is of another network than its config.yaml describes")
    check_finite(((name, array) for name, array in arrays.items() if name.startswith("network/")), folder)
    for variable, array in zip(network.variables, values):
        variable.assign(array)
    return network


def best_checkpoint(folder: Path) -> checkpoints.Checkpoint:
    """Load the checkpoint with the best validation IoU that a run has kept; the newest if none was evaluated.

    Raises:
        UserError: if there are no checkpoints, or that one is damaged.
    """
    steps = checkpoints.list_steps(folder / "checkpoints")
    if not steps:
        raise UserError(f"{folder}: holds no checkpoints; give its model.keras or model.npz instead")
    evaluations = evaluations_by_step(read_records(folder / "metrics.jsonl"))
    scores = {step: values.get("iou", 0.0) for step, values in evaluations.items() if step in steps}
    step = max(scores, key=lambda step: (scores[step], step)) if scores else steps[-1]
    try:
        return checkpoints.load(folder / "checkpoints", step)
    except checkpoints.DAMAGED as error:
        raise UserError(f"{folder}: the checkpoint of update {step} is damaged ({error})") from error


def _from_keras(path: Path, channels: int) -> tf.keras.Model:
    """Build the network in the form that the file describes, in the current precision, with the file's weights."""
    described = layer_settings(path)
    try:
        form: dict[str, Any] = {
            "width": _width({base: described[name]["filters"] for name, base in _CHANNELS.items()}),
            "output_stride": {6: 16, 12: 8}[described["bottleneck.aspp2.atrous_convolution"]["rate"]],
            # Of the middle blocks, 4 to 19, a network may have only the first ones.
            "middle_blocks": sum(f"{_BLOCK}{n}.rep.0.conv1" in described for n in range(4, 20)),
        }
        inputs = next(entry["batch_input_shape"][-1] for entry in described.values() if "batch_input_shape" in entry)
    except (KeyError, TypeError, StopIteration, IndexError) as error:
        raise UserError(f"{path}: is not a network of this program ({error!r} is missing)") from error
    if inputs != channels:
        raise UserError(f"{path}: takes {inputs} channels, the samples have {channels}")
    # Files name layers by their class, so weights are read into the class that was saved.
    grouped = any(entry["class_name"] == GroupBatchNormalization.__name__ for entry in described.values())
    network = deeplab.deeplab(channels, CLASSES, **form, batchnorm_group_size=2 if grouped else 1)
    load_weights(network, path)
    if not grouped:
        return network
    plain = deeplab.deeplab(channels, CLASSES, **form)
    plain.set_weights(network.get_weights())
    return plain


def _width(channels: dict) -> float:
    """A `width` that yields these {channels at width 1: channels}, which are rounded to multiples of 8."""
    highest = min((number + 4) / base for base, number in channels.items())
    lowest = max((number - 4) / base if number > 8 else 0.0 for base, number in channels.items())
    return 1.0 if lowest <= 1 <= highest else (lowest + highest) / 2

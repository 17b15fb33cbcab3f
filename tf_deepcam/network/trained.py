"""Trained networks from wherever they come: a Keras file, a run's folder, or a file of weights."""

from pathlib import Path

import tensorflow as tf

from common.errors import UserError
from common.runs.folder import read_records
from common.training import checkpoints
from tf_deepcam import config
from tf_deepcam.data.samples import CLASSES
from tf_deepcam.network import deeplab as model
from tf_deepcam.network import weights

# Layers and their channels at width 1: one of every number that there is.
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
    """A network under the current precision policy with trained weights. Raises UserError.

    path: .keras; a run's folder, of which the checkpoint with the best validation IoU is taken; or weights by the
    reference's names (.cpt, .pth, .npz, .safetensors). settings: the network's form, for weights; the others know it.
    channels: of the samples.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise UserError(f"{place}: no such file or folder; train a network, or set inference.model_file")
    if place.is_dir():
        return _from_run(place, channels)
    if place.suffix == ".keras":
        return _from_keras(place, channels)
    network = model.deeplab(channels, CLASSES, settings.output_stride, settings.width)
    weights.load(network, place)
    return network


def _from_run(folder: Path, channels: int) -> tf.keras.Model:
    settings = config.load(str(folder / "config.yaml"))
    if len(settings.data.channels) != channels:
        raise UserError(f"{folder}: was trained on {len(settings.data.channels)} channels, the samples have {channels}")
    network = model.deeplab(channels, CLASSES, settings.model.output_stride, settings.model.width)
    arrays = best_checkpoint(folder).arrays
    found = [array for name, array in arrays.items() if name.startswith("network/")]
    if [array.shape for array in found] != [tuple(variable.shape) for variable in network.variables]:
        raise UserError(f"{folder}: its checkpoint is of another network than its config.yaml says")
    for variable, array in zip(network.variables, found):
        variable.assign(array)
    return network


def best_checkpoint(folder: Path) -> checkpoints.Checkpoint:
    """Of the checkpoints that a run has kept, the one with the best validation IoU; the newest if none was scored."""
    steps = checkpoints.list_steps(folder / "checkpoints")
    if not steps:
        raise UserError(f"{folder}: holds no checkpoints; give its model.keras or model.npz instead")
    epochs = [record for record in read_records(folder / "metrics.jsonl") if record["kind"] == "epoch"]
    scores = {record["step"]: record["evaluation"].get("iou", 0.0) for record in epochs if record["step"] in steps}
    step = max(scores, key=lambda step: (scores[step], step)) if scores else steps[-1]
    try:
        return checkpoints.load(folder / "checkpoints", step)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: the checkpoint of update {step} is damaged ({error})") from error


def _from_keras(path: Path, channels: int) -> tf.keras.Model:
    """Built anew from the file's own description, so that the precision is today's and not the training's."""
    try:
        saved = tf.keras.models.load_model(path, compile=False)
        width = _width({base: saved.get_layer(name).filters for name, base in _CHANNELS.items()})
        rate = saved.get_layer("bottleneck.aspp2.atrous_convolution").rate
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: cannot be read as a network of this program ({str(error).splitlines()[0]})"
        ) from error
    if saved.input_shape[-1] != channels:
        raise UserError(f"{path}: takes {saved.input_shape[-1]} channels, the samples have {channels}")
    network = model.deeplab(channels, CLASSES, {6: 16, 12: 8}[rate], width)
    if [w.shape for w in network.get_weights()] != [w.shape for w in saved.get_weights()]:
        raise UserError(f"{path}: is a network of another form: load its weights (model.npz) with model.width set")
    network.set_weights(saved.get_weights())
    return network


def _width(found: dict) -> float:
    """A `width` that turns each channel number at width 1 into the one found: they are rounded to multiples of 8."""
    highest = min((number + 4) / base for base, number in found.items())
    lowest = max((number - 4) / base if number > 8 else 0.0 for base, number in found.items())
    return 1.0 if lowest <= 1 <= highest else (lowest + highest) / 2

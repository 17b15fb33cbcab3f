"""The networks of this benchmark by their names in `model.network`. A new one needs a function and an entry."""

import difflib
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable

import tensorflow as tf

from cloudmask.benchmark import BENCHMARK
from cloudmask.config import ModelSettings
from cloudmask.network import pixel, unet
from common.errors import UserError
from common.keras.files import load_weights
from common.training import checkpoints
from common.training.trained import best_checkpoint, best_step, set_weights


@dataclass(frozen=True)
class Network:
    """How a network is built, and what it sees.

    Args:
        build: makes the network, which maps [batch, height, width, 9] to the probability of cloud, [batch, height,
            width, 1] float32. With layered=True it computes layer by layer, which training.recompute needs.
        factor: height and width must be multiples of this.
        receptive_field: pixels that an output pixel sees on each side, rounded up to a multiple of `factor`.
    """

    build: Callable[..., tf.keras.Model]
    factor: int
    receptive_field: int


NETWORKS = {
    "reference": Network(unet.unet, unet.FACTOR, unet.RECEPTIVE_FIELD),
    "narrow": Network(partial(unet.unet, levels=unet.NARROW), unet.FACTOR, unet.RECEPTIVE_FIELD),
    # Always layer by layer.
    "pixel": Network(lambda **_: pixel.pixel(), pixel.FACTOR, pixel.RECEPTIVE_FIELD),
}


def find(name: str) -> Network:
    """Look up a network.

    Raises:
        UserError: if there is none of this name; it names the closest one.
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known networks: {', '.join(NETWORKS)}"
        raise UserError(f"model.network: there is no network '{name}': {hint}", on_all_ranks=True)
    return NETWORKS[name]


def saved(path: Path) -> Path:
    """Find the file or folder with the weights: of a run's folder its model.keras, else its best checkpoint.

    Raises:
        UserError: if it is missing, or a run's folder that holds neither.
    """
    if not path.exists():
        raise UserError(f"{path}: no such model; train one first, or set inference.model_file", on_all_ranks=True)
    if not (path / "config.yaml").is_file():
        return path
    finished = path / "model.keras"
    return (
        finished if finished.exists() else checkpoints.path_of(path / "checkpoints", best_step(path, BENCHMARK.score))
    )


def load(settings: ModelSettings, path: str) -> tf.keras.Model:
    """Build a network in the current precision policy, and give it the weights of a saved one.

    Args:
        settings: which network.
        path: .keras, .h5 (as the reference saves it), a SavedModel folder, of all of which only the arrays are used, or
            a run's folder.

    Raises:
        UserError: if it is missing, unreadable or of another network.
    """
    given = Path(path).expanduser()
    source = saved(given)
    model = find(settings.network).build()
    if source.parent.name == "checkpoints":
        set_weights(model, best_checkpoint(given, BENCHMARK.score))
        return model
    try:
        load_weights(model, source)
    except UserError as error:
        other = _whose(source, settings.network)
        if other:
            raise UserError(
                f"{source}: holds the weights of the network '{other}', not of '{settings.network}': set "
                f"model.network={other}"
            ) from error
        raise
    return model


def _whose(path: Path, but: str) -> str:
    """The name of the network whose weights a file holds, other than `but`; empty if it is of none."""
    for name, network in NETWORKS.items():
        if name != but:
            with suppress(UserError):
                load_weights(network.build(), path)
                return name
    return ""

"""The networks of this benchmark, by the names that `model.network` takes. A new one is a function and an entry."""

import difflib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable

import tensorflow as tf

from cloudmask.config import ModelSettings
from cloudmask.network import pixel, unet
from common.errors import UserError
from common.keras.files import load_weights


@dataclass(frozen=True)
class Network:
    """How a network is built, and what it sees.

    Args:
        build: makes it, [batch, height, width, 9] to the probability of cloud [batch, height, width, 1] float32. With
            layered=True it computes by its layers one after the other, as training.recompute needs it.
        factor: height and width must be multiples of it.
        receptive_field: pixels that an output pixel may see on each side, rounded up to a multiple of `factor`.
    """

    build: Callable[..., tf.keras.Model]
    factor: int
    receptive_field: int


NETWORKS = {
    "reference": Network(unet.unet, unet.FACTOR, unet.RECEPTIVE_FIELD),
    "narrow": Network(partial(unet.unet, levels=unet.NARROW), unet.FACTOR, unet.RECEPTIVE_FIELD),
    # Of layers in any case.
    "pixel": Network(lambda **_: pixel.pixel(), pixel.FACTOR, pixel.RECEPTIVE_FIELD),
}


def find(name: str) -> Network:
    """Raises UserError naming the nearest."""
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(NETWORKS)}"
        raise UserError(f"model.network: there is no network '{name}': {hint}", on_all_ranks=True)
    return NETWORKS[name]


def load(settings: ModelSettings, path: str) -> tf.keras.Model:
    """The network under the current precision policy, with the weights of a saved one.

    path: .keras, .h5 (as the reference saves it) or a SavedModel folder; only its arrays are used.
    Raises UserError if it is missing, unreadable or of another network.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise UserError(f"{place}: no such model; train one first, or set inference.model_file", on_all_ranks=True)
    model = find(settings.network).build()
    load_weights(model, place)
    return model

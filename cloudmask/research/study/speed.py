"""What networks cost: seconds a scene of the benchmark's size, GFLOP and parameters.

All are timed in turn, pass by pass, so that a machine that slows down slows all of them; what to compare is ratios.
"""

import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from cloudmask.config import DataSettings, InferenceSettings
from cloudmask.data.scenes import CHANNELS
from cloudmask.network import networks
from cloudmask.network.tiling import Tiling
from common.keras.flops import forward_gflop
from common.keras.inference import frozen
from common.keras.names import keras_policy


class Cost(NamedTuple):
    """seconds: the median of a whole scene's forward pass."""

    network: str
    precision: str
    seconds: float
    parameters: int
    gflop: float


def measure(names: tuple[str, ...], precisions: tuple[str, ...], passes: int, stored: Path) -> list[Cost]:
    """The cost of each network in each precision; from the file `stored` if it holds these very ones, and kept there.

    Weights are random: how long a pass takes does not depend on them.
    """
    asked = [[name, precision, passes] for name in names for precision in precisions]
    if stored.is_file():
        found = json.loads(stored.read_text(encoding="utf-8"))
        if found["asked"] == asked:
            return [Cost(*values) for values in found["costs"]]
    costs = _measure(names, precisions, passes)
    stored.write_text(json.dumps({"asked": asked, "costs": costs}, indent=1) + "\n", encoding="utf-8")
    return costs


def _measure(names: tuple[str, ...], precisions: tuple[str, ...], passes: int) -> list[Cost]:
    built = {}
    for precision in precisions:
        tf.keras.mixed_precision.set_global_policy(keras_policy(precision))
        for name in names:
            built[name, precision] = networks.find(name).build()
    tf.keras.mixed_precision.set_global_policy("float32")
    compiled = {key: frozen(network) for key, network in built.items()}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in built}
    for number in range(passes + 1):
        print(
            f"timing: pass {number} of {passes}" if number else "timing: a first pass that does not count", flush=True
        )
        for key in built:
            image = np.random.default_rng(0).random((1, *_shape(key[0]), CHANNELS), np.float32)
            tf.config.experimental.enable_tensor_float_32_execution(key[1] == "tf32")
            started = time.perf_counter()
            np.asarray(compiled[key](image))
            seconds[key].append(time.perf_counter() - started)
    return [
        Cost(
            *key,
            float(np.median(seconds[key][1:])),
            network.count_params(),
            forward_gflop(network, (*_shape(key[0]), CHANNELS)),
        )
        for key, network in built.items()
    ]


def _shape(name: str) -> tuple[int, int]:
    """Height and width of the benchmark's scene as the network takes it."""
    return Tiling.of(DataSettings(), InferenceSettings(), networks.find(name)).padded_shape

"""Cost of networks: seconds per scene of the benchmark's size, GFLOP and parameters.

The networks are timed in turn, pass by pass, so that a slower machine slows all of them. Compare ratios, not seconds.
"""

import json
import time
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from cloudmask.config import DataSettings, InferenceSettings
from cloudmask.data.scenes import CHANNELS
from cloudmask.network import networks
from cloudmask.network.tiling import Tiling
from common.keras.flops import forward_gflop
from common.keras.inference import frozen
from common.keras.names import keras_policy
from common.runs.files import write_text


class Cost(NamedTuple):
    """Cost of a network in a precision. seconds: median of the forward pass over a whole scene; gflop: of that pass."""

    network: str
    precision: str
    seconds: float
    parameters: int
    gflop: float


def measure(names: tuple[str, ...], precisions: tuple[str, ...], passes: int, stored: Path) -> list[Cost]:
    """Measure the cost of each network in each precision. Weights are random: they do not affect the time.

    Args:
        names: of the networks.
        precisions: of inference.
        passes: timed passes of each.
        stored: file of an earlier measurement, used if it is of the same networks; otherwise written.
    """
    requested = [[name, precision, passes] for name in names for precision in precisions]
    earlier = _stored(stored, requested)
    if earlier is not None:
        return earlier
    costs = _measure(names, precisions, passes)
    write_text(stored, json.dumps({"asked": requested, "costs": costs}, indent=1) + "\n")
    return costs


def _stored(path: Path, requested: list) -> Optional[list[Cost]]:
    """Read an earlier measurement; None if it is of other networks, damaged or not there."""
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if earlier["asked"] != requested:
            return None
        costs = [Cost(*values) for values in earlier["costs"]]
        same = [[cost.network, cost.precision] for cost in costs] == [names[:2] for names in requested]
        numbers = [float(number) for cost in costs for number in cost[2:]]
        return costs if same and all(0 < number < float("inf") for number in numbers) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


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
        print(f"timing: pass {number} of {passes}" if number else "timing: warm-up pass", flush=True)
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
    """Height and width of the benchmark's scene, padded for the network."""
    return Tiling.of(DataSettings(), InferenceSettings(), networks.find(name)).padded_shape

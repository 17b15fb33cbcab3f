"""What every measurement needs: two pieces of work in turn, their ratio with an interval, and one result line."""

import json
import os
from typing import NamedTuple

import numpy as np

from common.measuring.timing import repeat

CORES = len(os.sched_getaffinity(0))
_RESAMPLINGS = 4000


class Ratio(NamedTuple):
    """A ratio of medians, and the interval that holds it with 95 % confidence."""

    value: float
    low: float
    high: float

    def verdict(self, target: float) -> str:
        """met | missed | open: the figure is below the target, but what was measured does not exclude it."""
        if self.value >= target:
            return "met"
        return "missed" if self.high < target else "open"


def ratio_of_medians(upper: np.ndarray, lower: np.ndarray) -> Ratio:
    """Of paired measurements, the k-th of both made right after each other.

    The interval is the bootstrap's (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): pairs
    are drawn anew, so that what slows both at once does not widen it. The draws are the same in every run.
    """
    chosen = np.random.default_rng(0).integers(0, len(upper), (_RESAMPLINGS, len(upper)))
    ratios = np.median(upper[chosen], axis=1) / np.median(lower[chosen], axis=1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Ratio(float(np.median(upper) / np.median(lower)), float(low), float(high))


def spread(values: np.ndarray) -> float:
    """The middle half of the values (between their quartiles), as a share of their median."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return float((high - low) / middle)


def row(
    name: str, ours: np.ndarray, limit: np.ndarray, unit: str, target: float, limit_is: str, higher: bool = True
) -> None:
    """Print a result of paired measurements; `ratio` is how near to the limit we are, at best 1 (or above, where the
    limit can be passed)."""
    ratio = ratio_of_medians(ours, limit) if higher else ratio_of_medians(limit, ours)
    values = {
        "name": name,
        "ours": float(np.median(ours)),
        "spread": spread(ours),
        "limit": float(np.median(limit)),
        "limit_spread": spread(limit),
        "unit": unit,
        "ratio": ratio.value,
        "interval": [ratio.low, ratio.high],
        "repeats": len(ours),
        "target": target,
        "verdict": ratio.verdict(target),
        "limit_is": limit_is,
    }
    print(json.dumps(values), flush=True)


def start(precision: str = "float32", *, trains: bool = True):
    """TensorFlow with all cores of this process, as a rank alone on the node would have it. trains: or infers."""
    import tensorflow as tf

    from common import distributed

    distributed.init(at_once=2 if trains else 1)
    tf.keras.mixed_precision.set_global_policy(precision)
    return tf


def drawn(network):
    """The network with biases and batch norms as a training leaves them: those of a fresh one are 0, and TensorFlow
    leaves out what adds a constant 0, with what it would compute along."""
    rng = np.random.default_rng(0)
    for variable in network.variables:
        if len(variable.shape) == 1:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return network


def alternately(first, second, times: int) -> tuple:
    """Two arrays of what two functions return, called A B B A ..., so that both see the same machine."""
    pairs = []
    for number in range(times):
        if number % 2 == 0:
            pairs.append((first(), second()))
        else:
            pairs.append((second(), first())[::-1])
    return tuple(np.array(values) for values in zip(*pairs))


def in_turn(first, second, times: int = 9) -> tuple:
    """Seconds of two pieces of work, two arrays, each warmed up by one call."""
    first(), second()
    return alternately(lambda: repeat(first, 1, 0)[0], lambda: repeat(second, 1, 0)[0], times)


def gemm(tf, precision: str):
    """Work of a square matrix product, and its GFLOP."""
    size = 4096
    dtype = tf.float32 if precision == "float32" else tf.bfloat16
    matrix = tf.cast(tf.random.normal((size, size)), dtype)
    product = tf.function(lambda a: tf.reduce_sum(tf.cast(tf.matmul(a, a)[:1], tf.float32)))
    return lambda: product(matrix).numpy(), 2 * size**3 / 1e9

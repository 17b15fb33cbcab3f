"""What every measurement needs: one result line, two pieces of work in turn, and the machine's limits."""

import json
import os

import numpy as np

from common.timing import repeat

CORES = len(os.sched_getaffinity(0))


def row(name: str, ours: float, limit: float, unit: str, target: float, limit_is: str, higher: bool = True) -> None:
    """Print a result; `ratio` is how near to the limit we are, at best 1 (or above, where the limit can be passed)."""
    ratio = ours / limit if higher else limit / ours
    values = {"name": name, "ours": ours, "limit": limit, "unit": unit, "ratio": ratio, "target": target}
    print(json.dumps({**values, "limit_is": limit_is}), flush=True)


def start(precision: str = "float32"):
    """TensorFlow with all cores of this process, as a rank alone on the node would have it."""
    import tensorflow as tf

    from common import distributed

    distributed.init()
    tf.keras.mixed_precision.set_global_policy(precision)
    return tf


def in_turn(first, second, times: int = 7) -> tuple:
    """Medians of two pieces of work, measured A B A B ..., so that both see the same machine."""
    first(), second()
    pairs = [(repeat(first, 1, 0)[0], repeat(second, 1, 0)[0]) for _ in range(times)]
    return tuple(float(np.median(values)) for values in zip(*pairs))


def gemm(tf, precision: str):
    """Work of a square matrix product, and its GFLOP."""
    size = 4096
    dtype = tf.float32 if precision == "float32" else tf.bfloat16
    matrix = tf.cast(tf.random.normal((size, size)), dtype)
    product = tf.function(lambda a: tf.reduce_sum(tf.cast(tf.matmul(a, a)[:1], tf.float32)))
    return lambda: product(matrix).numpy(), 2 * size**3 / 1e9

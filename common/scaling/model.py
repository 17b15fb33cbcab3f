"""Prediction of how long a training step takes on N ranks, from measurements on a few.

python -m common.scaling bench-allreduce --output allreduce.json      under horovodrun -np N: latency, bandwidth
python -m common.scaling predict --step-seconds 0.6 --local-batch 2 --gradient-bytes 2.3e8 \\
    --allreduce allreduce.json --measured 2:0.71 --picture scaling.png

The model, for p ranks in nodes of g, gradients of n bytes, latency a (s) and bandwidth B (bytes/s) of one rank's link:

  ring          T = 2 (p - 1) a + 2 (p - 1) / p n / B                            Patarasuk and Yuan, JPDC 69 (2009)
  hierarchical  T = ring(g, n; inside a node) + ring(p / g, n / g; between nodes)      Jia et al., arXiv:1807.11205
  exposed       max(T - f t, T / m) + c / 2     what the backward pass (share f of the step t) does not hide; the last
                                        of the m parts has no computation left to hide behind, and waits for Horovod's
                                        next cycle, every c seconds (HOROVOD_CYCLE_TIME)
  stragglers    s E[max of p standard normals]     the slowest of p ranks whose step times have standard deviation s
  step          t + stragglers + exposed

Ring or hierarchical, whichever is faster; f is 2/3 and m is 4. Efficiency is the step on one rank over the step on p:
weak scaling, with the local batch kept.
"""

from dataclasses import dataclass
from typing import Optional

import numpy as np
from scipy.special import ndtr

BACKWARD_SHARE = 2 / 3  # of a step, in which an exchange can hide: two products of three are the gradients'
PARTS = 4  # fused messages of a step


@dataclass(frozen=True)
class Link:
    """The network link of one rank."""

    latency: float  # seconds
    bandwidth: float  # bytes/s


@dataclass(frozen=True)
class Job:
    """What is trained, and on which machine. Times in seconds, sizes in bytes."""

    step: float  # time of a step on one rank, without exchange
    gradient_bytes: float
    between: Link  # of one rank, between nodes
    inside: Optional[Link] = None  # of one rank, inside a node
    ranks_per_node: int = 1
    cycle: float = 0.0  # Horovod's cycle time
    spread: float = 0.0  # standard deviation of a rank's step time
    local_batch: float = 1.0  # samples of a rank in a step


@dataclass(frozen=True)
class Prediction:
    """A training step on a number of ranks. Times in seconds."""

    ranks: int
    allreduce: float  # the whole exchange, hidden or not
    exposed: float  # the part that computation does not hide
    stragglers: float  # waiting for the slowest rank
    step: float
    samples_per_second: float
    efficiency: float
    binds: str  # the largest part: compute | allreduce | stragglers


def ring(size: float, ranks: float, link: Link) -> float:
    """Return the seconds of a ring allreduce of `size` bytes."""
    if ranks <= 1:
        return 0.0
    return 2 * (ranks - 1) * link.latency + 2 * (ranks - 1) / ranks * size / link.bandwidth


def allreduce(size: float, ranks: int, job: Job) -> float:
    """Return the seconds of an allreduce by the faster of a ring over all ranks and a hierarchical one."""
    inside = job.inside or job.between
    on_a_node = min(ranks, job.ranks_per_node)
    if ranks == on_a_node:
        return ring(size, ranks, inside)
    flat = ring(size, ranks, job.between)
    return min(flat, ring(size, on_a_node, inside) + ring(size / on_a_node, ranks / on_a_node, job.between))


def expected_maximum(count: int) -> float:
    """Return the mean of the largest of `count` standard normal numbers.

    It is the integral of 1 - F^count over x > 0, minus that of F^count over x < 0, with F the distribution function.
    """
    x = np.linspace(0.0, 12.0, 6001)
    return float(np.trapz(1 - ndtr(x) ** count - ndtr(-x) ** count, x))


def predict(job: Job, ranks: int) -> Prediction:
    """Predict a step on a number of ranks."""
    exchange = allreduce(job.gradient_bytes, ranks, job)
    exposed = max(exchange - BACKWARD_SHARE * job.step, exchange / PARTS) + (job.cycle / 2 if ranks > 1 else 0)
    stragglers = job.spread * expected_maximum(ranks) if ranks > 1 else 0.0
    step = job.step + stragglers + exposed
    parts = {"compute": job.step, "allreduce": exposed, "stragglers": stragglers}
    binds = max(parts, key=lambda part: parts[part])
    return Prediction(
        ranks, exchange, exposed, stragglers, step, ranks * job.local_batch / step, job.step / step, binds
    )


def fit(sizes: list, seconds: list, ranks: int) -> Link:
    """Fit a link to the times of ring allreduces by least squares of the relative errors; latency is at least 0.

    Args:
        sizes: bytes of each message.
        seconds: the time of each.
        ranks: number of ranks in the ring.
    """
    size, second = np.array(sizes, np.float64), np.array(seconds, np.float64)
    columns = np.stack([np.full(len(size), 2.0 * (ranks - 1)), 2 * (ranks - 1) / ranks * size], axis=1)
    latency, inverse = np.linalg.lstsq(columns / second[:, None], np.ones(len(size)), rcond=None)[0]
    return Link(max(float(latency), 0.0), 1 / float(inverse))

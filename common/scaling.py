"""How long a training step takes on N ranks, predicted from what was measured on a few.

python -m common.scaling bench-allreduce --output allreduce.json      under horovodrun -np N: latency, bandwidth
python -m common.scaling predict --step-seconds 0.6 --local-batch 2 --gradient-bytes 2.3e8 \\
    --allreduce allreduce.json --measured 2:0.71 --picture scaling.png

The model, for p ranks in nodes of g, gradients of n bytes, latency a (s) and bandwidth B (bytes/s) of one rank's link:

  ring          T = 2 (p - 1) a + 2 (p - 1) / p n / B                            Patarasuk and Yuan, JPDC 69 (2009)
  hierarchical  T = ring(g, n; inside a node) + ring(p / g, n / g; between nodes)      Jia et al., arXiv:1807.11205
  exposed       max(T - f t, T / m) + c / 2     what the backward pass (share f of the step t) does not hide; the last
                                        of the m parts has nothing left to hide behind, and waits for Horovod's next
                                        look at what is ready, every c seconds (HOROVOD_CYCLE_TIME)
  stragglers    s E[max of p standard normals]     the slowest of p ranks whose step times spread by s (s)
  compute       t + stragglers + exposed
  input         p b d / F               b samples a rank of d bytes, from a file system that gives F bytes/s to all
  step          max(compute, input)     reading goes on beside computing

Ring or hierarchical, whichever is faster. Efficiency is the step on one rank over the step on p: weak scaling, with the
local batch kept.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
import numpy as np
from rich.table import Table
from scipy.special import ndtr

from common.errors import UserError, run_program
from common.tables import show, table

BENCH_BYTES = tuple(4**n * 1024 for n in range(10))  # 1 KB to 256 MB


@dataclass(frozen=True)
class Link:
    latency: float  # seconds
    bandwidth: float  # bytes/s


@dataclass(frozen=True)
class Job:
    """What is trained, and on what. Seconds and bytes."""

    step: float  # one rank, no exchange
    gradient_bytes: float
    between: Link  # of one rank, between nodes
    inside: Optional[Link] = None  # of one rank, inside a node
    ranks_per_node: int = 1
    backward_share: float = 2 / 3
    parts: int = 4  # fused messages of a step
    cycle: float = 0.0  # between Horovod's looks at what is ready
    spread: float = 0.0  # standard deviation of a rank's step
    local_batch: float = 1.0
    sample_bytes: float = 0.0
    file_system: float = np.inf  # bytes/s, to all ranks


@dataclass(frozen=True)
class Prediction:
    ranks: int
    allreduce: float  # all of it, hidden or not
    exposed: float
    stragglers: float
    input: float
    step: float
    samples_per_second: float
    efficiency: float
    binds: str  # compute | allreduce | stragglers | input


def ring(size: float, ranks: float, link: Link) -> float:
    """Seconds of a ring allreduce of `size` bytes."""
    if ranks <= 1:
        return 0.0
    return 2 * (ranks - 1) * link.latency + 2 * (ranks - 1) / ranks * size / link.bandwidth


def allreduce(size: float, ranks: int, job: Job) -> float:
    """Seconds, by the faster of a ring over all ranks and a hierarchical one."""
    inside = job.inside or job.between
    on_a_node = min(ranks, job.ranks_per_node)
    if ranks == on_a_node:
        return ring(size, ranks, inside)
    flat = ring(size, ranks, job.between)
    return min(flat, ring(size, on_a_node, inside) + ring(size / on_a_node, ranks / on_a_node, job.between))


def expected_maximum(count: int) -> float:
    """Mean of the largest of `count` standard normal numbers: the integral of 1 - F^count over x > 0, less F^count
    over x < 0."""
    x = np.linspace(0.0, 12.0, 6001)
    return float(np.trapz(1 - ndtr(x) ** count - ndtr(-x) ** count, x))


def predict(job: Job, ranks: int) -> Prediction:
    """A step on so many ranks."""
    exchange = allreduce(job.gradient_bytes, ranks, job)
    exposed = max(exchange - job.backward_share * job.step, exchange / job.parts) + (job.cycle / 2 if ranks > 1 else 0)
    stragglers = job.spread * expected_maximum(ranks) if ranks > 1 else 0.0
    reading = ranks * job.local_batch * job.sample_bytes / job.file_system
    compute = job.step + stragglers + exposed
    step = max(compute, reading)
    parts = {"compute": job.step, "allreduce": exposed, "stragglers": stragglers}
    binds = "input" if reading > compute else max(parts, key=parts.get)
    alone = max(job.step, job.local_batch * job.sample_bytes / job.file_system)
    rate = ranks * job.local_batch / step
    return Prediction(ranks, exchange, exposed, stragglers, reading, step, rate, alone / step, binds)


def fit(sizes: list, seconds: list, ranks: int) -> Link:
    """The link under a ring's times, by least squares of relative errors, latency not below 0."""
    sizes, seconds = np.asarray(sizes, float), np.asarray(seconds, float)
    columns = np.stack([np.full(len(sizes), 2.0 * (ranks - 1)), 2 * (ranks - 1) / ranks * sizes], axis=1)
    latency, inverse = np.linalg.lstsq(columns / seconds[:, None], np.ones(len(sizes)), rcond=None)[0]
    return Link(max(float(latency), 0.0), 1 / float(inverse))


def prediction_table(predictions: list, measured: dict) -> Table:
    made = table(
        "Predicted training step",
        *("ranks", "allreduce, s", "exposed, s", "stragglers, s", "input, s", "step, s", "measured, s"),
        *("samples/s", "efficiency", "binds"),
    )
    for found in predictions:
        made.add_row(
            str(found.ranks),
            *(f"{value:.4f}" for value in (found.allreduce, found.exposed, found.stragglers, found.input, found.step)),
            f"{measured[found.ranks]:.4f}" if found.ranks in measured else "",
            f"{found.samples_per_second:.1f}",
            f"{100 * found.efficiency:.1f} %",
            found.binds,
        )
    return made


def draw(predictions: list, measured: dict, job: Job, path: Path) -> None:
    """Samples/s and the parts of a step over ranks."""
    ranks = [found.ranks for found in predictions]
    figure, (rates, times) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    rates.plot(ranks, [n * job.local_batch / job.step for n in ranks], "--", color="grey", label="ideal")
    rates.plot(ranks, [found.samples_per_second for found in predictions], "-", label="predicted")
    if measured:
        points = [n * job.local_batch / seconds for n, seconds in measured.items()]
        rates.plot(list(measured), points, "o", color="C3", label="measured")
    rates.set_ylabel("samples/s")
    rates.set_yscale("log")
    for name in ("step", "exposed", "stragglers", "input"):
        values = [getattr(found, name) for found in predictions]
        if any(values):
            times.plot(ranks, values, label={"exposed": "allreduce, not hidden"}.get(name, name))
    times.set_ylabel("seconds of a step")
    for axis in (rates, times):
        axis.set_xscale("log", base=2)
        axis.set_xlabel("ranks")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    plt.close(figure)


def bench_allreduce(output: Optional[str]) -> int:
    """Times of Horovod's allreduce by size, plain and compressed to float16, and the fitted link. Collective."""
    import tensorflow as tf

    from common import distributed

    os.environ["HOROVOD_CYCLE_TIME"] = "1"  # ms; the link is measured, not Horovod's pauses
    distributed.init()
    if distributed.size() < 2:
        raise UserError("bench-allreduce needs at least 2 ranks: horovodrun -np 2 python -m common.scaling ...")
    made = table("Allreduce", "bytes", "float32, s", "GB/s", "as float16, s", "GB/s")
    rows = []
    for size in BENCH_BYTES:
        values = tf.random.normal((size // 4,))
        medians = []
        for compress in (False, True):
            exchange = tf.function(lambda values, c=compress: distributed.average_over_ranks([values], c)[0])
            seconds = []
            for _ in range(7):
                distributed.barrier()
                started = time.perf_counter()
                exchange(values)[0].numpy()
                seconds.append(time.perf_counter() - started)
            medians.append(max(distributed.gather_objects(float(np.median(seconds[2:])))))
        rows.append((size, *medians))
        made.add_row(str(size), *(text for s in medians for text in (f"{s:.5f}", f"{size / s / 1e9:.3f}")))
    links = [fit([row[0] for row in rows], [row[column] for row in rows], distributed.size()) for column in (1, 2)]
    if distributed.is_root():
        show(made)
        for name, link in zip(("float32", "as float16"), links):
            print(f"{name}: latency {1e6 * link.latency:.0f} us, bandwidth {link.bandwidth / 1e9:.3f} GB/s a rank")
        if output:
            content = {"ranks": distributed.size(), "nodes": distributed.nodes(), "rows": rows}
            _write(Path(output), {**content, "float32": vars(links[0]), "float16": vars(links[1])})
    distributed.barrier()
    return 0


def _write(path: Path, content: dict) -> None:
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def _link(path: Optional[str], values: Optional[list], name: str) -> Optional[Link]:
    """From LATENCY_US BANDWIDTH_GB, or from bench-allreduce's file."""
    if values:
        return Link(values[0] / 1e6, values[1] * 1e9)
    if path is None:
        return None
    try:
        return Link(**json.loads(Path(path).read_text(encoding="utf-8"))["float32"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no file of bench-allreduce ({error}); give --{name} LATENCY_US GB_S") from error


def _measured(texts: list) -> dict:
    try:
        return {int(ranks): float(seconds) for ranks, seconds in (text.split(":") for text in texts)}
    except ValueError:
        raise UserError(f"--measured {' '.join(texts)}: RANKS:SECONDS expected, such as 2:0.71") from None


def parse(arguments: list) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m common.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    bench = commands.add_parser("bench-allreduce")
    bench.add_argument("--output", metavar="FILE", help="JSON file for predict")
    model = commands.add_parser("predict")
    model.add_argument("--step-seconds", type=float, required=True, help="of one rank alone")
    model.add_argument("--gradient-bytes", type=float, required=True, help="4 a trainable parameter, 2 compressed")
    model.add_argument("--allreduce", metavar="FILE", help="what bench-allreduce wrote: the link between ranks")
    model.add_argument("--between", type=float, nargs=2, metavar=("US", "GB_S"), help="link of a rank between nodes")
    model.add_argument("--inside", type=float, nargs=2, metavar=("US", "GB_S"), help="link of a rank inside a node")
    model.add_argument("--ranks-per-node", type=int, default=1)
    model.add_argument("--backward-share", type=float, default=2 / 3, help="of the step; what can hide the exchange")
    model.add_argument("--parts", type=int, default=4, help="fused messages a step")
    model.add_argument("--cycle-ms", type=float, default=1.0, help="HOROVOD_CYCLE_TIME; training sets 20 on CPUs")
    model.add_argument("--spread", type=float, default=0.0, help="standard deviation of a rank's step, s")
    model.add_argument("--local-batch", type=float, default=1.0)
    model.add_argument("--sample-bytes", type=float, default=0.0)
    model.add_argument("--file-system", type=float, default=np.inf, help="bytes/s that all ranks share")
    model.add_argument("--max-ranks", type=int, default=32768)
    model.add_argument("--measured", nargs="*", default=[], metavar="RANKS:SECONDS", help="steps to compare with")
    model.add_argument("--picture", metavar="PNG")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    if options.command == "bench-allreduce":
        return bench_allreduce(options.output)
    between = _link(options.allreduce, options.between, "between")
    if between is None:
        raise UserError("give --allreduce FILE (from bench-allreduce) or --between LATENCY_US BANDWIDTH_GB_S")
    job = Job(
        options.step_seconds,
        options.gradient_bytes,
        between,
        _link(None, options.inside, "inside"),
        options.ranks_per_node,
        options.backward_share,
        options.parts,
        options.cycle_ms / 1000,
        options.spread,
        options.local_batch,
        options.sample_bytes,
        options.file_system,
    )
    measured = _measured(options.measured)
    sizes = {2**power for power in range(options.max_ranks.bit_length()) if 2**power <= options.max_ranks}
    predictions = [predict(job, ranks) for ranks in sorted(sizes | measured.keys())]
    show(prediction_table(predictions, measured), width=130)
    if options.picture:
        draw(predictions, measured, job, Path(options.picture))
        print(f"written: {options.picture}")
    return 0


if __name__ == "__main__":
    run_program(main)

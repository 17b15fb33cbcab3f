"""The toy benchmark as common.cli.registry knows it."""

from common.cli.registry import Benchmark

BENCHMARK = Benchmark(
    name="toy", package="toy", title="Toy", job_command="train", score="f1", target=0.9, report="toy.report:EXTENSION"
)

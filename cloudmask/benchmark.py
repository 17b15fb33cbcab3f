"""CloudMask's entry in the registry of benchmarks (common.cli.registry)."""

from common.cli.registry import Benchmark

BENCHMARK = Benchmark(
    name="cloudmask",
    package="cloudmask",
    title="CloudMask",
    job_command="run",
    score="pixel_accuracy",
    figures=("baseline", "inference"),
    report="cloudmask.report:EXTENSION",
)

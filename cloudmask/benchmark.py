"""CloudMask as common.cli.registry knows it."""

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

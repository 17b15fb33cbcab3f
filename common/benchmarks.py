"""The benchmarks: the one place of common/ that names them. Pure data; what they compute is in their packages."""

import difflib
from dataclasses import dataclass
from typing import Optional

from common.errors import UserError


@dataclass(frozen=True)
class Benchmark:
    """What the shared programs (reports, job scripts, `common.config`) need to know of a benchmark."""

    name: str  # in recipes (`benchmark:`) and, as submission_benchmark, in MLPerf logs
    package: str  # `python -m PACKAGE`; PACKAGE.config has its settings
    title: str
    job_command: str  # what a job script runs: python -m PACKAGE JOB_COMMAND
    target: Optional[float]  # of the score, where a log names none
    forms: tuple[str, ...]  # of common.report.forms, besides those that every benchmark has
    ruleset: str  # of mlperf-logging's compliance checker; empty where MLPerf has no rules


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            name="deepcam",
            package="tf_deepcam",
            title="DeepCAM",
            job_command="train",
            target=0.82,  # MLPerf HPC v3.0
            forms=("esif", "nersc", "epcc"),
            ruleset="3.0.0",
        ),
        Benchmark(
            name="cloudmask",
            package="cloudmask",
            title="CloudMask",
            job_command="run",
            target=None,
            forms=("inference",),
            ruleset="",
        ),
    )
}


def find(name: str, where: str) -> Benchmark:
    """The benchmark called `name`, in any case, as the reference programs write it. `where`: for the message.

    Raises UserError naming the nearest.
    """
    benchmark = BENCHMARKS.get(str(name).lower())
    if benchmark is None:
        near = difflib.get_close_matches(str(name).lower(), BENCHMARKS, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(BENCHMARKS)}"
        raise UserError(f"{where}: there is no benchmark '{name}': {hint}")
    return benchmark


def of_package(package: str) -> Benchmark:
    """The benchmark of a package. Raises UserError if there is none."""
    for benchmark in BENCHMARKS.values():
        if package in (benchmark.package, benchmark.name):
            return benchmark
    raise UserError(f"no benchmark package named '{package}' here: {', '.join(b.package for b in BENCHMARKS.values())}")

"""The registered benchmarks. A benchmark registers itself, and the rest of `common` asks for benchmarks here.

A benchmark is a package with a module `benchmark` that holds `BENCHMARK`. An installed distribution registers it by an
entry point in the group GROUP:

    [project.entry-points."tf_science_segmentation.benchmarks"]
    NAME = "PACKAGE.benchmark:BENCHMARK"

In a checkout that is not installed, packages beside `common` that have a file benchmark.py are registered.
"""

import difflib
import importlib
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

from common import resources
from common.errors import UserError

GROUP = "tf_science_segmentation.benchmarks"


@dataclass(frozen=True)
class Benchmark:
    """What the programs that all benchmarks share need to know about one.

    Attributes:
        name: its name in recipes (`benchmark:`) and MLPerf logs (submission_benchmark).
        package: started as `python -m PACKAGE`; its settings are in PACKAGE.config.
        title: name in tables and headings.
        job_command: the command that a job script runs, `python -m PACKAGE JOB_COMMAND`.
        sections: (section, command): a recipe with this section and without `training` is for this command of jobs.
        score: name of the score that training must bring to the target.
        target: value of the score to reach, where a log gives none.
        ruleset: rules by which mlperf-logging's compliance checker judges logs; empty where MLPerf has none.
        least_models: fewest models in a throughput result by MLPerf's rules.
        figures: kinds of its records, besides a training's, that summarise a whole run; trackers show them.
        report: "module:name" of its common.report.extension.Extension; empty if it adds nothing to reports.
    """

    name: str
    package: str
    title: str
    job_command: str
    score: str
    target: Optional[float] = None
    ruleset: str = ""
    least_models: int = 1
    sections: tuple[tuple[str, str], ...] = ()
    figures: tuple[str, ...] = ()
    report: str = ""

    @property
    def folder(self) -> Path:
        """The package's folder."""
        return Path(str(importlib.import_module(self.package).__file__)).parent


@lru_cache(maxsize=1)
def benchmarks() -> dict[str, Benchmark]:
    """Return all registered benchmarks by name, in alphabetical order.

    Raises:
        UserError: if one cannot be loaded.
    """
    loaded = [_load(reference) for reference in dict.fromkeys([*_beside_this_package(), *_installed()])]
    return {benchmark.name: benchmark for benchmark in sorted(loaded, key=lambda each: each.name)}


def _installed() -> list[str]:
    if sys.version_info >= (3, 10):
        return [entry.value for entry in metadata.entry_points(group=GROUP)]
    return [entry.value for entry in metadata.entry_points().get(GROUP, ())]


def _beside_this_package() -> list[str]:
    if resources.CHECKOUT is None:
        return []
    return [f"{path.parent.name}.benchmark:BENCHMARK" for path in sorted(resources.CHECKOUT.glob("*/benchmark.py"))]


def _load(reference: str) -> Benchmark:
    benchmark = load(reference)
    if not isinstance(benchmark, Benchmark):
        raise UserError(f"the registered benchmark {reference} is not a Benchmark: fix its package, or uninstall it")
    return benchmark


def load(reference: str) -> Any:
    """Import the object that "module:name" refers to.

    Raises:
        UserError: if the module or the name in it cannot be imported.
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{reference}: cannot be loaded ({error}): fix the package, or uninstall it") from error


def find(name: str, where: str) -> Benchmark:
    """Return the benchmark called `name`, in upper or lower case: the reference programs' files have capitals.

    Args:
        name: the name in a recipe.
        where: the recipe's file and line, for the message.

    Raises:
        UserError: if there is none; names the nearest one.
    """
    known = benchmarks()
    benchmark = known.get(str(name).lower())
    if benchmark is None:
        near = difflib.get_close_matches(str(name).lower(), known, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(known)}"
        raise UserError(f"{where}: there is no benchmark '{name}': {hint}")
    return benchmark


def of_package(package: str) -> Benchmark:
    """Return the benchmark with this package or this name.

    Raises:
        UserError: if there is none.
    """
    known = benchmarks().values()
    for benchmark in known:
        if package in (benchmark.package, benchmark.name):
            return benchmark
    raise UserError(
        f"there is no benchmark package '{package}': choose from {', '.join(each.package for each in known)}"
    )

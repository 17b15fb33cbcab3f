"""Which benchmarks there are. A benchmark registers itself; nothing else in common/ knows one.

A benchmark is a package with a module `benchmark` that holds `BENCHMARK`. It is found as an entry point of the group
GROUP of an installed distribution:

    [project.entry-points."tf_science_segmentation.benchmarks"]
    NAME = "PACKAGE.benchmark:BENCHMARK"

or, in a checkout that is not installed, beside this package.
"""

import difflib
import importlib
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

from common.errors import UserError

GROUP = "tf_science_segmentation.benchmarks"
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Benchmark:
    """What the programs that all benchmarks share need to know of one.

    Attributes:
        name: in recipes (`benchmark:`) and, as submission_benchmark, in MLPerf logs.
        package: `python -m PACKAGE`; PACKAGE.config has its settings.
        title: for people.
        job_command: what a job script runs, `python -m PACKAGE JOB_COMMAND`.
        score: the name of the one that its target is set for.
        target: of the score, where a log names none.
        ruleset: of mlperf-logging's compliance checker; empty where MLPerf has no rules.
        least_models: of a throughput result by MLPerf's rules.
        figures: kinds of its records, besides a training's, that speak of a whole run; trackers take them.
        report: where its common.report.extension.Extension is, as "module:name"; empty if it adds nothing to reports.
    """

    name: str
    package: str
    title: str
    job_command: str
    score: str
    target: Optional[float] = None
    ruleset: str = ""
    least_models: int = 1
    figures: tuple[str, ...] = ()
    report: str = ""

    @property
    def folder(self) -> Path:
        """The package's."""
        return Path(str(importlib.import_module(self.package).__file__)).parent


@lru_cache(maxsize=1)
def benchmarks() -> dict[str, Benchmark]:
    """All that are registered, by name and sorted by it.

    Raises:
        UserError: if one cannot be loaded.
    """
    loaded = [_load(place) for place in dict.fromkeys([*_beside_this_package(), *_installed()])]
    return {benchmark.name: benchmark for benchmark in sorted(loaded, key=lambda each: each.name)}


def _installed() -> list[str]:
    if sys.version_info >= (3, 10):
        return [entry.value for entry in metadata.entry_points(group=GROUP)]
    return [entry.value for entry in metadata.entry_points().get(GROUP, ())]


def _beside_this_package() -> list[str]:
    if not (_CHECKOUT / "pyproject.toml").is_file():
        return []
    return [f"{path.parent.name}.benchmark:BENCHMARK" for path in sorted(_CHECKOUT.glob("*/benchmark.py"))]


def _load(place: str) -> Benchmark:
    benchmark = load(place)
    if not isinstance(benchmark, Benchmark):
        raise UserError(f"the registered benchmark {place} is no Benchmark: mend its package, or uninstall it")
    return benchmark


def load(place: str) -> Any:
    """The object at "module:name". Raises UserError if there is none."""
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{place}: cannot be loaded ({error}): mend the package, or uninstall it") from error


def find(name: str, where: str) -> Benchmark:
    """The benchmark called `name`, in any case, as the reference programs write it.

    Args:
        name: as it stands in a recipe.
        where: its file and line, for the message.

    Raises:
        UserError: naming the nearest if there is none.
    """
    known = benchmarks()
    benchmark = known.get(str(name).lower())
    if benchmark is None:
        near = difflib.get_close_matches(str(name).lower(), known, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
        raise UserError(f"{where}: there is no benchmark '{name}': {hint}")
    return benchmark


def of_package(package: str) -> Benchmark:
    """The benchmark of a package, or of that name. Raises UserError if there is none."""
    known = benchmarks().values()
    for benchmark in known:
        if package in (benchmark.package, benchmark.name):
            return benchmark
    raise UserError(f"no benchmark package named '{package}' here: {', '.join(each.package for each in known)}")

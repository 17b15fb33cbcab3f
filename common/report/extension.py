"""What a benchmark adds to reports; its registration (common.cli.registry) says where its own is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Optional

from rich.table import Table

from common.cli.registry import Benchmark, load
from common.report.logs import RunLog
from common.report.options import Options

Form = Callable[[list[RunLog], Options], Table]  # of several runs of the benchmark


class Picture(NamedTuple):
    """A picture of a run's folder, by its file's name in pictures/."""

    title: str
    file: str


def _no_tables(records: list[dict]) -> list[Table]:
    return []


def _no_pictures(folder: Path) -> list[Picture]:
    return []


class Extension(NamedTuple):
    """A benchmark's part of reports.

    Attributes:
        forms: tables that compare runs, such as those that procurements ask for.
        rows: of the first table, by their titles, each from a run to its cell.
        tables: of one run, from its records in metrics.jsonl.
        score_titles: what people call the scores, by their names; a name that is not here has blanks for underscores.
        epoch_scores: names of scores that the table of epochs shows besides the loss and the benchmark's own.
        pictures: those of a run's folder that its report shows besides the curves.
        plots: files in a run's pictures/ that are no predictions.
        kind: keys of the log in which runs must agree to be compared, besides those that all benchmarks have.
    """

    forms: tuple[Form, ...] = ()
    rows: Mapping[str, Callable[[RunLog], str]] = {}
    tables: Callable[[list[dict]], list[Table]] = _no_tables
    score_titles: Mapping[str, str] = {}
    epoch_scores: tuple[str, ...] = ()
    pictures: Callable[[Path], list[Picture]] = _no_pictures
    plots: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()

    def title(self, score: str) -> str:
        return self.score_titles.get(score, score.replace("_", " "))


def extension_of(benchmark: Optional[Benchmark]) -> Extension:
    """A benchmark's own, or one that adds nothing."""
    if benchmark is None or not benchmark.report:
        return Extension()
    extension: Extension = load(benchmark.report)
    return extension

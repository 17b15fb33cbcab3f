"""Results that others have published, beside runs: rows of a benchmark's published.yaml, each with its source."""

from typing import Optional

import yaml
from rich.table import Table

from common.cli.registry import Benchmark, benchmarks
from common.config.settings import Settings
from common.errors import UserError
from common.report.generic import gpus, minutes_to_target
from common.report.logs import RunLog
from common.report.options import Options, show
from common.report.tables import table


class Row(Settings):
    """One published result; what its source does not tell is left out."""

    who: str
    machine: str
    accelerators: int
    training_seconds: Optional[float] = None
    samples_per_second: Optional[float] = None
    minutes_to_target: Optional[float] = None
    seconds_to_16_epochs: Optional[float] = None
    score: Optional[str] = None  # text, for a range of several runs


def rows_of(benchmark: Benchmark) -> tuple[list[Row], str]:
    """The published results of a benchmark, and where they are from."""
    path = benchmark.folder / "published.yaml"
    if not path.is_file():
        return [], ""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [Row(**row) for row in content["results"]], str(content["source"])
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as published results ({error})") from error


def tables(runs: list[RunLog], options: Options) -> list[Table]:
    """For each benchmark that there are runs of: the runs, then what others have published."""
    made = []
    for benchmark in benchmarks().values():
        own = [run for run in runs if run.benchmark is benchmark]
        if own:
            made.append(_table(benchmark, own, options))
    return made


def _table(benchmark: Benchmark, runs: list[RunLog], options: Options) -> Table:
    built = table(
        f"{benchmark.title} beside published results",
        "Run",
        "Machine",
        "GPUs",
        "Training\n(s)",
        "samples/s",
        "To the target\n(minutes)",
        "16 epochs\n(s)",
        "Score",
    )
    for run in runs:
        scores = [event.value for event in run.evaluations()]
        built.add_row(
            run.name,
            show(run.value("submission_platform")),
            show(gpus(run)),
            show(run.interval("run"), ".0f"),
            show(run.samples_per_second(), ".0f"),
            show(minutes_to_target(run, options.target), ".2f"),
            show(run.time_to_epochs(16), ".1f"),
            show(scores[-1] if scores else None, ".3f"),
        )
    rows, source = rows_of(benchmark)
    for row in rows:
        built.add_row(
            f"published: {row.who}",
            row.machine,
            str(row.accelerators),
            show(row.training_seconds, ".0f"),
            show(row.samples_per_second, ".0f"),
            show(row.minutes_to_target, ".2f"),
            show(row.seconds_to_16_epochs, ".1f"),
            show(row.score),
        )
    built.caption = f"Published rows: {source}"
    return built

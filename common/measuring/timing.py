"""Times of repeated work as people compare them: medians, percentiles, warm-up left out; of one process, or by rank.

A run over data begins at a barrier and ends, for a rank, when its last sample is done, and for all, when the slowest
rank is done. Warm-up runs come before and are not counted.
"""

import csv
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
from rich.table import Table

from common import distributed
from common.errors import UserError, storage_problem
from common.report.tables import table


def summary(seconds: list) -> dict:
    """Mean, median, p95, shortest, longest and total of a list of durations in seconds; NaN for an empty list."""
    values = np.asarray(seconds if len(seconds) else [np.nan], np.float64)
    return {
        "count": len(seconds),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "min": float(values.min()),
        "max": float(values.max()),
        "total": float(values.sum()) if len(seconds) else 0.0,
    }


def repeat(work: Callable[[], object], times: int = 5, warmup: int = 2) -> list:
    """Durations of `times` calls of `work`, in seconds, after `warmup` calls that are not counted."""
    durations = []
    for call in range(warmup + times):
        started = time.perf_counter()
        work()
        if call >= warmup:
            durations.append(time.perf_counter() - started)
    return durations


@dataclass(frozen=True)
class Measured:
    """One run. seconds: from the common start until the last rank was done; rank_*: of each rank, by its number."""

    seconds: float
    rank_seconds: list
    rank_samples: list
    rank_bytes: list

    @property
    def samples_per_second(self) -> float:
        return sum(self.rank_samples) / self.seconds

    @property
    def gigabytes_per_second(self) -> float:
        return sum(self.rank_bytes) / self.seconds / 1e9

    @property
    def slowest_rank(self) -> int:
        return int(np.argmax(self.rank_seconds))


class Work(NamedTuple):
    """What one run of a rank did."""

    samples: int
    bytes: int


def measure(work: Callable[[], Work], warmup: int, runs: int, say: Callable[[str], None]) -> list[Measured]:
    """Of `runs` runs on every rank. work: one run of this rank. Collective."""
    measured = []
    for number in range(-warmup, runs):
        distributed.barrier()
        started = time.perf_counter()
        samples, size = work()
        own = time.perf_counter() - started
        seconds, counts, sizes = zip(*distributed.gather_objects((own, samples, size)))
        run = Measured(max(seconds), list(seconds), list(counts), list(sizes))
        label = f"run {number + 1} of {runs}" if number >= 0 else f"warm-up {number + warmup + 1} of {warmup}"
        say(f"{label}: {run.seconds:.3f} s, {run.samples_per_second:.2f} samples/s")
        if number >= 0:
            measured.append(run)
    return measured


def statistics(runs: list) -> dict:
    """Mean, median, standard deviation and 95th percentile over runs of seconds, samples/s and GB/s."""
    columns = {
        "seconds": [run.seconds for run in runs],
        "samples_per_second": [run.samples_per_second for run in runs],
        "gigabytes_per_second": [run.gigabytes_per_second for run in runs],
    }
    return {
        name: {
            "mean": float(np.mean(values)),
            "median": float(np.median(values)),
            "standard_deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
            "p95": float(np.percentile(values, 95)),
        }
        for name, values in columns.items()
    }


def runs_table(runs: list) -> Table:
    """A line a run, then mean, median, standard deviation and p95."""
    rows = table("Runs", "run", "seconds", "samples/s", "samples/s per rank", "GB/s", "slowest rank", "its seconds")
    for number, run in enumerate(runs, 1):
        rows.add_row(
            str(number),
            f"{run.seconds:.3f}",
            f"{run.samples_per_second:.2f}",
            f"{run.samples_per_second / len(run.rank_seconds):.2f}",
            f"{run.gigabytes_per_second:.3f}",
            str(run.slowest_rank),
            f"{max(run.rank_seconds):.3f}",
        )
    ranks = len(runs[0].rank_seconds)
    over_runs = statistics(runs)
    for name, title in (("mean", "mean"), ("median", "median"), ("standard_deviation", "std"), ("p95", "p95")):
        rate = over_runs["samples_per_second"][name]
        rows.add_row(
            title,
            f"{over_runs['seconds'][name]:.3f}",
            f"{rate:.2f}",
            f"{rate / ranks:.2f}",
            f"{over_runs['gigabytes_per_second'][name]:.3f}",
            "",
            "",
        )
    return rows


def check_output(path: str) -> None:
    """Raises UserError if `path` (without ending, or with .json) cannot become a .json and a .csv file."""
    for ending in (".json", ".csv"):
        target = Path(path).expanduser().with_suffix(ending)
        if target.exists():
            raise UserError(f"{target}: exists already and is left as it is; choose another outputfile")
        if not target.parent.is_dir():
            raise UserError(f"{target}: its folder does not exist; make it, or choose another outputfile")


def write(path: str, runs: list, about: dict) -> None:
    """`path` with .json (about, statistics, runs) and with .csv (a line for each rank of each run)."""
    target = Path(path).expanduser()
    content = {**about, "statistics": statistics(runs), "runs": [asdict(run) for run in runs]}
    try:
        target.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        with open(target.with_suffix(".csv"), "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            rates = ("samples_per_second", "gigabytes_per_second")
            writer.writerow(["run", "rank", "seconds", "samples", "bytes", *rates])
            for number, run in enumerate(runs, 1):
                for rank, row in enumerate(zip(run.rank_seconds, run.rank_samples, run.rank_bytes)):
                    seconds, samples, size = row
                    writer.writerow([number, rank, *row, samples / seconds, size / seconds / 1e9])
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({storage_problem(error, target.parent)})") from error

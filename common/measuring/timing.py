"""Timing of repeated work, of one process or by rank, with medians and percentiles for comparisons.

A run over the data begins at a barrier. For a rank it ends when the rank's last sample is done, and for all when the
slowest rank is done. Warm-up runs come first and are not counted.
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
from common.errors import UserError
from common.report.tables import table
from common.runs.files import whole, write_text


def summary(seconds: list) -> dict:
    """Return count, mean, median, p95, min, max and total of durations in seconds; NaN if there are none."""
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
    """Return the durations of `times` calls of `work`, in seconds, after `warmup` calls that are not counted."""
    durations = []
    for call in range(warmup + times):
        started = time.perf_counter()
        work()
        if call >= warmup:
            durations.append(time.perf_counter() - started)
    return durations


@dataclass(frozen=True)
class Measured:
    """One measured run; the lists have an entry for each rank."""

    seconds: float  # from the common start until the slowest rank was done
    rank_seconds: list
    rank_samples: list
    rank_bytes: list

    @property
    def samples_per_second(self) -> float:
        """Of all ranks together."""
        return sum(self.rank_samples) / self.seconds

    @property
    def gigabytes_per_second(self) -> float:
        """Of all ranks together."""
        return sum(self.rank_bytes) / self.seconds / 1e9

    @property
    def slowest_rank(self) -> int:
        """The number of the rank that took longest."""
        return int(np.argmax(self.rank_seconds))


class Work(NamedTuple):
    """What a rank did in one run."""

    samples: int
    bytes: int


def measure(work: Callable[[], Work], warmup: int, runs: int, say: Callable[[str], None]) -> list[Measured]:
    """Measure runs on every rank, after warm-up runs. A collective call.

    Args:
        work: does one run of this rank.
        warmup: runs that are not counted.
        runs: runs that are.
        say: called with a line for each run.
    """
    measured = []
    for number in range(-warmup, runs):
        distributed.barrier()
        started = time.perf_counter()
        samples, size = work()
        own_seconds = time.perf_counter() - started
        seconds, counts, sizes = zip(*distributed.gather_objects((own_seconds, samples, size)))
        run = Measured(max(seconds), list(seconds), list(counts), list(sizes))
        label = f"run {number + 1} of {runs}" if number >= 0 else f"warm-up {number + warmup + 1} of {warmup}"
        say(f"{label}: {run.seconds:.3f} s, {run.samples_per_second:.2f} samples/s")
        if number >= 0:
            measured.append(run)
    return measured


def statistics(runs: list) -> dict:
    """Return mean, median, standard deviation and 95th percentile over runs, of seconds, samples/s and GB/s."""
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
    """Make a table with a row for each run, then mean, median, standard deviation and p95."""
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
    """Raises UserError if `path` (without suffix, or with .json) cannot become a .json and a .csv file."""
    for suffix in (".json", ".csv"):
        target = Path(path).expanduser().with_suffix(suffix)
        if target.exists():
            raise UserError(f"{target}: exists already and is left as it is; choose another outputfile")
        if not target.parent.is_dir():
            raise UserError(f"{target}: its folder does not exist; make it, or choose another outputfile")


def write(path: str, runs: list, about: dict) -> None:
    """Write the runs as .json (about, statistics, runs) and as .csv (a row for each rank of each run).

    Args:
        path: of both files; their suffixes are added.
        runs: what `measure` returned.
        about: what else the .json holds.

    Raises:
        UserError: if they cannot be written.
    """
    target = Path(path).expanduser()
    content = {**about, "statistics": statistics(runs), "runs": [asdict(run) for run in runs]}
    write_text(target.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    with whole(target.with_suffix(".csv")) as csv_path, open(csv_path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        rates = ("samples_per_second", "gigabytes_per_second")
        writer.writerow(["run", "rank", "seconds", "samples", "bytes", *rates])
        for number, run in enumerate(runs, 1):
            for rank, row in enumerate(zip(run.rank_seconds, run.rank_samples, run.rank_bytes)):
                seconds, samples, size = row
                writer.writerow([number, rank, *row, samples / seconds, size / seconds / 1e9])

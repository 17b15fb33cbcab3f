"""A run in the form that trackers take: a description, points of curves, and figures of the whole run.

Names are TensorBoard's where it has them (train/loss, evaluation/loss); a step is an update. Files may be untrusted:
values that are not valid counts, times, numbers or names are left out.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from common.cli.registry import benchmarks
from common.config.yaml_files import read_yaml
from common.errors import UserError
from common.runs import kinds
from common.runs.records import read_lines

_NAME = re.compile(r"\w[\w. -]{0,63}")  # part of a name; MLflow's names may have 250 characters
_LATEST = 2**40  # seconds since 1970
_MOST_STEPS = 2**53
_CHUNK = 1000  # points that are passed on together
_DEEPEST = 3  # levels below a record's kind: inference / scores / NAME / SCORE


@dataclass(frozen=True)
class Description:
    """What a tracker needs to know about a run before its first point."""

    name: str  # of the run's folder
    project: str  # the benchmark
    identity: str  # the same for all starts of a run, and for its folder wherever it is moved
    config: dict
    environment: dict  # of the first start
    started: float  # seconds since 1970; 0 if unknown


class Point(NamedTuple):
    """Values at one update."""

    step: int  # updates done
    time: float  # seconds since 1970
    values: dict[str, float]


def describe(folder: Path) -> Description:
    """Describe the run in a folder. Raises UserError if it is not a run folder."""
    starts = read_lines(folder / "environment.jsonl")
    if not starts or not (folder / "config.yaml").is_file():
        raise UserError(f"{folder}: is not a run folder (it has no config.yaml or no environment.jsonl)")
    config, name = read_yaml(folder / "config.yaml").value, folder.resolve().name
    digest = hashlib.sha256(json.dumps([name, starts[0]], sort_keys=True).encode()).hexdigest()
    project = str(config.get("benchmark") or "runs")
    return Description(name, project, digest[:16], config, starts[0], _seconds(starts[0].get("started")))


def _seconds(started: object) -> float:
    """Convert a start's time, as common.runs.environment writes it, to seconds since 1970; 0 if it is not valid."""
    try:
        return max(datetime.strptime(str(started), "%Y-%m-%dT%H:%M:%S%z").timestamp(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


def point(record: dict) -> Optional[Point]:
    """Return the curves' values in a record; None for a record without any and for a damaged one."""
    step, time = _count(record.get("step")), _number(record.get("time"))
    if step is None or time is None or not 0 <= time < _LATEST:
        return None
    values = _curve_values(record)
    return Point(step, time, values) if values else None


def _curve_values(record: dict) -> dict[str, float]:
    kind = record["kind"]
    if kind == kinds.Step.kind:
        step = kinds.parse(kinds.Step, record)
        return flatten({**step.terms, "learning_rate": step.learning_rate}, "train") if step else {}
    if kind == kinds.Epoch.kind:
        epoch = kinds.parse(kinds.Epoch, record)
        if epoch is None:
            return {}
        seconds = {key: getattr(epoch, key) for key in ("seconds", "evaluation_seconds", "samples_per_second")}
        return {**flatten({**epoch.rates, **seconds}, "epoch"), **flatten(epoch.evaluation, "evaluation")}
    if kind == kinds.Evaluation.kind:  # within an epoch
        evaluation = kinds.parse(kinds.Evaluation, record)
        return flatten({**evaluation.scores, "seconds": evaluation.seconds}, "evaluation") if evaluation else {}
    return {}


def in_chunks(records: Callable[[], Iterable[dict]]) -> Iterator[list[Point]]:
    """Give all points of a run, some at a time, in the order of their steps: trackers refuse one lower than the last.

    Args:
        records: reads the run's records; called twice. Memory holds all of them only if they are not in order.
    """
    ordered: Iterable[Point] = _points(records())
    if not _in_order(each.step for each in _points(records())):
        ordered = sorted(ordered, key=lambda each: each.step)
    iterator = iter(ordered)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _points(records: Iterable[dict]) -> Iterator[Point]:
    return (each for each in map(point, records) if each is not None)


def _in_order(steps: Iterable[int]) -> bool:
    last = 0
    for step in steps:
        if step < last:
            return False
        last = step
    return True


def kinds_of_figures(project: str) -> frozenset[str]:
    """Return the kinds of records that summarise a whole run of a benchmark, which need not be registered here."""
    benchmark = benchmarks().get(project)
    return frozenset((kinds.Training.kind, *(benchmark.figures if benchmark else ())))


def figures(record: dict, of_whole_run: frozenset[str]) -> dict[str, float]:
    """Return a record's figures of the whole run, such as training/seconds.

    Args:
        record: a record from metrics.jsonl.
        of_whole_run: the kinds that have such figures, from `kinds_of_figures`.
    """
    if record["kind"] not in of_whole_run:
        return {}
    return flatten({key: value for key, value in record.items() if key != "time"}, record["kind"])


def flatten(tree: object, prefix: str) -> dict[str, float]:
    """Return the numbers in nested dictionaries by their paths, prefix/section/name; other values are left out."""
    return dict(_numbers(tree, prefix, _DEEPEST))


def _numbers(tree: object, prefix: str, depth: int) -> Iterator[tuple[str, float]]:
    if not isinstance(tree, dict):
        return
    for name, value in tree.items():
        number = _number(value)
        if not _NAME.fullmatch(name):
            continue
        if number is not None:
            yield f"{prefix}/{name}", number
        elif depth > 1:
            yield from _numbers(value, f"{prefix}/{name}", depth - 1)


def _number(value: Any) -> Optional[float]:
    """Return a number as a float, NaN and infinity included; None for other values and integers too large for one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _count(value: Any) -> Optional[int]:
    """Return a valid number of updates; None for other values."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_STEPS else None

"""A run's folder as trackers take it: a description, points of curves, and figures of the whole.

Names are TensorBoard's where it has them (train/loss, evaluation/loss); a step is an update. The files may come from
anybody: what is not a finite count, time or word is left out.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Optional

from common.cli.registry import benchmarks
from common.config.yaml_files import read_yaml
from common.errors import UserError
from common.runs import kinds
from common.runs.records import read_lines

_NAME = re.compile(r"\w[\w. -]{0,63}")  # of what MLflow takes; hers may have 250 characters in all
_LATEST = 2**40  # seconds since 1970
_MOST_STEPS = 2**53
_DEEPEST = 3  # sections of a record: inference / scores / NAME / SCORE


@dataclass(frozen=True)
class Description:
    """What a tracker is told of a run before its first point."""

    name: str  # of the run's folder
    project: str  # the benchmark
    identity: str  # the same for all starts of a run, and for its folder wherever that is moved
    config: dict
    environment: dict  # of the first start
    started: float  # seconds since 1970, 0 if that is not known


class Point(NamedTuple):
    step: int  # updates done
    time: float  # seconds since 1970
    values: dict[str, float]


def describe(folder: Path) -> Description:
    """Raises UserError if it is not a run folder."""
    starts = read_lines(folder / "environment.jsonl")
    if not starts or not (folder / "config.yaml").is_file():
        raise UserError(f"{folder}: is not a run folder (it has no config.yaml or no environment.jsonl)")
    config, name = read_yaml(folder / "config.yaml").value, folder.resolve().name
    digest = hashlib.sha256(json.dumps([name, starts[0]], sort_keys=True).encode()).hexdigest()
    project = str(config.get("benchmark") or "runs")
    return Description(name, project, digest[:16], config, starts[0], _seconds(starts[0].get("started")))


def _seconds(started: object) -> float:
    """As common.runs.environment writes it."""
    try:
        return max(datetime.strptime(str(started), "%Y-%m-%dT%H:%M:%S%z").timestamp(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


def point(record: dict) -> Optional[Point]:
    """Of a curve: what an update or an epoch gave; None for other records, and for damaged ones."""
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


def points(records: list[dict]) -> list[Point]:
    """All of a run, in the order of their steps: a tracker takes no step back."""
    found = (point(record) for record in records)
    return sorted((each for each in found if each is not None), key=lambda each: each.step)


def kinds_of_figures(project: str) -> frozenset[str]:
    """The kinds of records that speak of a whole run of a benchmark, also of one that is not registered here."""
    benchmark = benchmarks().get(project)
    return frozenset((kinds.Training.kind, *(benchmark.figures if benchmark else ())))


def figures(record: dict, of_whole_run: frozenset[str]) -> dict[str, float]:
    """Of the whole run, such as training/seconds; none in other records. of_whole_run: `kinds_of_figures`."""
    if record["kind"] not in of_whole_run:
        return {}
    return flatten({key: value for key, value in record.items() if key != "time"}, record["kind"])


def flatten(tree: object, prefix: str) -> dict[str, float]:
    """The numbers of a tree by the way to them, prefix/section/name; lists and texts are passed over."""
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
    """A loss may be NaN or infinite; a truth value is no number, and one of 400 digits none that can be kept."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _count(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_STEPS else None

"""The kinds of records in a run's metrics.jsonl: one class each, with which they are written and read.

A record is a JSON object with its `kind`, its `time` (seconds since 1970) and the fields of its class. A dictionary
field marked INLINE is not nested: its entries are entries of the record itself. Benchmarks add kinds of their own.
Files may be untrusted or damaged: a record whose fields are missing or of other types is ignored.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Optional, TypeVar, Union, get_args, get_origin, get_type_hints

AnyRecord = TypeVar("AnyRecord", bound="Record")
Numbers = dict[str, float]


INLINE = {"inline": True}  # metadata of a dictionary field whose entries are entries of the record itself


@dataclass(frozen=True)
class Record:
    """Base class of all kinds.

    Attributes:
        kind: its name in the file.
    """

    kind: ClassVar[str]


@dataclass(frozen=True)
class Step(Record):
    """Means over the updates since the last record of this kind.

    Attributes:
        step: updates done.
        epoch: epoch of the last update.
        learning_rate: learning rate of the last update.
        terms: means of the objective's terms, "loss" among them.
    """

    kind = "step"
    step: int
    epoch: int
    learning_rate: float
    terms: Numbers = field(default_factory=dict, metadata=INLINE)


@dataclass(frozen=True)
class Evaluation(Record):
    """Scores on the held-out samples, within an epoch.

    Attributes:
        step: updates done.
        epoch: epoch of the last update.
        seconds: duration of the evaluation.
        scores: scores by name.
    """

    kind = "evaluation"
    step: int
    epoch: int
    seconds: float = 0.0
    scores: Numbers = field(default_factory=dict, metadata=INLINE)


@dataclass(frozen=True)
class Epoch(Record):
    """The end of an epoch.

    Attributes:
        step: updates done.
        epoch: number of the epoch.
        seconds: duration without evaluations.
        evaluation_seconds: duration of the evaluations.
        samples_per_second: training rate over all ranks.
        rates: samples per second and TFLOP/s.
        learning_rate: learning rate of the last update.
        train: means of the objective's terms.
        evaluation: the last scores; empty if there were none.
    """

    kind = "epoch"
    step: int
    epoch: int
    seconds: float
    evaluation_seconds: Optional[float] = None
    samples_per_second: Optional[float] = None
    rates: Numbers = field(default_factory=dict)
    learning_rate: float = 0.0
    train: Numbers = field(default_factory=dict)
    evaluation: Numbers = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint(Record):
    """A checkpoint after update `step`.

    Attributes:
        step: updates done.
        seconds: time that training waited for it.
    """

    kind = "checkpoint"
    step: int
    seconds: float


@dataclass(frozen=True)
class Resume(Record):
    """The run was resumed after update `step`; updates recorded after that one are repeated."""

    kind = "resume"
    step: int


@dataclass(frozen=True)
class Training(Record):
    """The end of a training.

    Attributes:
        updates: updates of the whole run.
        epochs: epochs of the whole run.
        epochs_run: epochs of this start.
        training_seconds: duration of this start without evaluations.
        samples_per_second: training rate of this start over all ranks.
        seconds: duration of this start, from the first update to the end of the last evaluation.
        evaluation: the last scores.
        target_reached: whether the score reached its target.
        stopped_early: whether training stopped because the score no longer improved.
        best_update: update after which the score was best.
        seconds_lost_to_saving: time that training waited for checkpoints.
        more: what a benchmark adds.
    """

    kind = "training"
    updates: int
    epochs: float
    epochs_run: float
    training_seconds: float
    samples_per_second: float
    seconds: float
    evaluation: Numbers
    target_reached: bool
    stopped_early: bool
    best_update: int
    seconds_lost_to_saving: float
    more: dict[str, Any] = field(default_factory=dict, metadata=INLINE)


def as_json(record: Record) -> dict[str, Any]:
    """Return the record as a JSON object, its kind first."""
    values: dict[str, Any] = {"kind": record.kind}
    for each in dataclasses.fields(record):
        value = getattr(record, each.name)
        values.update(value if each.metadata.get("inline") else {each.name: value})
    return values


def select(kind: type[AnyRecord], records: Iterable[dict]) -> list[AnyRecord]:
    """Return the valid records of one kind, in order."""
    parsed = (parse(kind, record) for record in records if record.get("kind") == kind.kind)
    return [record for record in parsed if record is not None]


def latest(kind: type[AnyRecord], records: Iterable[dict]) -> Optional[AnyRecord]:
    """Return the last valid record of one kind; None if there is none."""
    return next(reversed(select(kind, records)), None)


def parse(kind: type[AnyRecord], record: dict) -> Optional[AnyRecord]:
    """Return a JSON object as a record; None if a field is missing or of another type."""
    rest = {key: value for key, value in record.items() if key not in ("kind", "time")}
    values: dict[str, Any] = {}
    inline_name: Optional[str] = None
    for name, each in _fields(kind).items():
        if each.inline:
            inline_name = name
        elif name in rest:
            try:
                values[name] = _checked(rest.pop(name), each.hint)
            except TypeError:
                return None
        elif each.required:
            return None
    if inline_name is not None:
        values[inline_name] = _checked(rest, _fields(kind)[inline_name].hint)
    return kind(**values)


class _Field(NamedTuple):
    hint: Any
    inline: bool
    required: bool


_FIELDS: dict[type[Record], dict[str, _Field]] = {}  # looked up once a kind: a file may hold a million records


def _fields(kind: type[Record]) -> dict[str, _Field]:
    if kind not in _FIELDS:
        _FIELDS[kind] = _look_up(kind)
    return _FIELDS[kind]


def _look_up(kind: type[Record]) -> dict[str, _Field]:
    hints = get_type_hints(kind)
    missing = dataclasses.MISSING
    return {
        each.name: _Field(
            hints[each.name],
            bool(each.metadata.get("inline")),
            each.default is missing and each.default_factory is missing,
        )
        for each in dataclasses.fields(kind)
    }


def _checked(value: Any, hint: Any) -> Any:
    """Return the value if it has this type, a dictionary without entries of other types. Raises TypeError if not."""
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin is Union:
        return None if value is None else _checked(value, get_args(hint)[0])
    if origin is dict:
        return _entries(value, get_args(hint)[1])
    if origin is list:
        if not isinstance(value, list):
            raise TypeError
        return [_checked(each, get_args(hint)[0]) for each in value]
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise TypeError
    return value


def _entries(value: Any, hint: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    entries = {}
    for key, each in value.items():
        try:
            entries[key] = _checked(each, hint)
        except TypeError:
            continue
    return entries

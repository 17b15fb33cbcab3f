"""The kinds of records in a run's metrics.jsonl: one class each, by which they are written and read.

A record is a JSON object with its `kind`, its `time` (seconds since 1970) and the fields of its class; fields marked as
beside stand in the object itself, not in one of their own. Benchmarks add kinds of their own. A file may come from
anybody and may be damaged: a record whose fields are missing or of other types is passed over.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Optional, TypeVar, Union, get_args, get_origin, get_type_hints

AnyRecord = TypeVar("AnyRecord", bound="Record")
Numbers = dict[str, float]


BESIDE = {"beside": True}  # metadata of a dictionary field whose entries stand beside the record's other fields


@dataclass(frozen=True)
class Record:
    """Base of all kinds. kind: its name in the file."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Step(Record):
    """Means over the updates since the record before. step: updates done. terms: the objective's, "loss" among them."""

    kind = "step"
    step: int
    epoch: int
    learning_rate: float
    terms: Numbers = field(default_factory=dict, metadata=BESIDE)


@dataclass(frozen=True)
class Evaluation(Record):
    """Scores on what is held out, between the ends of epochs. seconds: that it took."""

    kind = "evaluation"
    step: int
    epoch: int
    seconds: float = 0.0
    scores: Numbers = field(default_factory=dict, metadata=BESIDE)


@dataclass(frozen=True)
class Epoch(Record):
    """An epoch's end. seconds: without evaluation. train: means of the objective's terms. evaluation: the last scores,
    empty if there were none. rates: samples per second and TFLOP/s."""

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
    """A checkpoint after update `step`. seconds: that training lost by it."""

    kind = "checkpoint"
    step: int
    seconds: float


@dataclass(frozen=True)
class Resume(Record):
    """The run goes on after update `step`: what was recorded behind it is repeated."""

    kind = "resume"
    step: int


@dataclass(frozen=True)
class Training(Record):
    """A training's end. updates, epochs: of the whole run; epochs_run, training_seconds, seconds: of this start, the
    last from the first update to the last evaluation. more: what a benchmark adds."""

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
    more: dict[str, Any] = field(default_factory=dict, metadata=BESIDE)


def as_json(record: Record) -> dict[str, Any]:
    """The record's fields, its kind first."""
    values: dict[str, Any] = {"kind": record.kind}
    for each in dataclasses.fields(record):
        value = getattr(record, each.name)
        values.update(value if each.metadata.get("beside") else {each.name: value})
    return values


def select(kind: type[AnyRecord], records: Iterable[dict]) -> list[AnyRecord]:
    """The records of one kind, in their order."""
    parsed = (parse(kind, record) for record in records if record.get("kind") == kind.kind)
    return [record for record in parsed if record is not None]


def latest(kind: type[AnyRecord], records: Iterable[dict]) -> Optional[AnyRecord]:
    """The last record of one kind; None if there is none."""
    return next(reversed(select(kind, records)), None)


def parse(kind: type[AnyRecord], record: dict) -> Optional[AnyRecord]:
    """A JSON object as a record; None if a field is missing or of another type."""
    rest = {key: value for key, value in record.items() if key not in ("kind", "time")}
    values: dict[str, Any] = {}
    remaining: Optional[str] = None
    for name, each in _fields(kind).items():
        if each.beside:
            remaining = name
        elif name in rest:
            try:
                values[name] = _checked(rest.pop(name), each.hint)
            except TypeError:
                return None
        elif each.required:
            return None
    if remaining is not None:
        values[remaining] = _checked(rest, _fields(kind)[remaining].hint)
    return kind(**values)


class _Field(NamedTuple):
    hint: Any
    beside: bool
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
            bool(each.metadata.get("beside")),
            each.default is missing and each.default_factory is missing,
        )
        for each in dataclasses.fields(kind)
    }


def _checked(value: Any, hint: Any) -> Any:
    """The value if it is of this type. Raises TypeError. Of a dictionary, entries of other types are left out."""
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

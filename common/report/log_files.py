"""MLPerf logs from files: which lines are events, and where one run ends and the next begins.

A log is a text file in which some lines hold `:::MLLOG` and a JSON object; what other programs printed between them is
passed over.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.report.logs import RECORDS, RUN_LOG, Event, RunLog, finite
from common.runs import records

_MARK = ":::MLLOG"


def is_log(path: Path) -> bool:
    """Whether a file's beginning holds an event."""
    try:
        with open(path, "rb") as file:
            return _MARK.encode() in file.read(1 << 16)
    except OSError:
        return False


def read(path: Path) -> list:
    """The runs (RunLog) of a log file. Raises UserError if it cannot be read or holds no event."""
    events: list[Event] = []
    bad: dict[int, str] = {}
    end = 0
    for number, line in _lines(path):
        end = number
        if _MARK not in line:
            continue
        try:
            events.append(_event(number, json.loads(line.split(_MARK, 1)[1])))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            bad[number] = f"line {number}: is not an MLPerf event: {line.strip()[:60]}"
    if path.name == RUN_LOG:
        records.check(path.with_name(RECORDS))
    if not events:
        raise UserError(f"{path}: holds no line with {_MARK}: neither a run folder nor an MLPerf log")
    runs = _split(events)
    name = path.parent.name if path.name == RUN_LOG else path.stem
    logs = []
    for number, part in enumerate(runs, 1):
        # Up to the next run's first line; what comes before the first run is the first one's.
        last = runs[number][0].line if number < len(runs) else end + 1
        first = part[0].line if number > 1 else 0
        problems = [text for line, text in bad.items() if first <= line < last]
        if len(runs) > 1:
            problems.append(f"the file holds {len(runs)} runs; this is the one that begins in line {part[0].line}")
        logs.append(RunLog(f"{name} #{number}" if len(runs) > 1 else name, path, part, problems))
    return logs


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file, numbered from 1. Raises UserError."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _event(line: int, entry: Any) -> Event:
    """Raises ValueError, KeyError or TypeError for what is not an event."""
    if not isinstance(entry, dict) or not isinstance(entry["key"], str):
        raise ValueError("is not an object with a key")
    ms = entry["time_ms"]
    if finite(ms) is None or not 0 <= ms < 1e15:
        raise ValueError("has no time")
    metadata = entry.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise ValueError("has metadata that is not an object")
    value = entry["value"]
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    return Event(line, int(ms), entry["key"], value, metadata)


def _split(events: list) -> list:
    """A run begins with init_start, or with run_start where the program logged no init."""
    key = "init_start" if any(event.key == "init_start" for event in events) else "run_start"
    starts = [place for place, event in enumerate(events) if event.key == key]
    starts = [0, *starts[1:]] if starts else [0]
    return [events[first:last] for first, last in zip(starts, [*starts[1:], len(events)])]

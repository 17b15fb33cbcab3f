"""Reading and writing of metrics.jsonl: a JSON object for each step, epoch and result, with its kind and its time.

A long training writes hundreds of megabytes of steps. What needs few of the records reads them one by one, and takes no
more memory for a longer file.
"""

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Optional

from common.errors import UserError
from common.runs import files, kinds

_LONGEST_LINE = 1 << 24  # bytes; of ours, the longest are an inference's scores
_RESUME = f'"{kinds.Resume.kind}"'.encode()


def append(path: Path, record: dict) -> None:
    """Append a record as a line of its own. Raises UserError if it cannot be written."""
    files.append(path, json.dumps(record).encode())


def read_lines(path: Path) -> list[dict]:
    """Return the JSON objects of a file, one a line. Other lines, such as one that was cut off, are ignored.

    Raises:
        UserError: if the file exists but cannot be read.
    """
    objects = (_parse(line) for line in _lines(path))
    return [value for value in objects if value is not None]


def read_records(path: Path, *names: str) -> list[dict]:
    """Return the records of a metrics.jsonl, without those that the run repeated after it was resumed.

    Args:
        path: the file; there are no records if it does not exist.
        *names: the kinds to read; all without any.

    Raises:
        UserError: if the file exists but cannot be read.
    """
    return list(iterate(path, *names))


def iterate(path: Path, *names: str) -> Iterator[dict]:
    """Like `read_records`, one after the other."""
    resumes = _resumes(path)
    wanted = [f'"{name}"'.encode() for name in names]
    for number, line in enumerate(_lines(path)):
        while resumes and resumes[-1][0] <= number:
            resumes.pop()
        if wanted and not any(name in line for name in wanted):  # most lines need not be parsed
            continue
        record = _parse_record(line)
        if record is None or (names and record["kind"] not in names):
            continue
        if not resumes or _step(record) <= resumes[-1][1]:
            yield record


def last(path: Path, name: str) -> Optional[dict]:
    """Return the last record of a kind; None if there is none. Raises UserError as `read_records`."""
    return next(iter(deque(iterate(path, name), maxlen=1)), None)


def check(path: Path) -> None:
    """Raise UserError if the file cannot be read, or exists and holds no record at all."""
    if path.exists() and not any(_parse_record(line) is not None for line in _lines(path)):
        raise UserError(f"{path}: holds no record: it is empty or damaged")


def _resumes(path: Path) -> list[tuple[int, int]]:
    """Return (line, step) of the resumes, the last line first; what a later one makes needless is left out.

    A record is repeated if it stands before a resume from a lower step. Of the resumes behind it, the next one here has
    the lowest step.
    """
    resumes: list[tuple[int, int]] = []
    for number, line in enumerate(_lines(path)):
        record = _parse_record(line) if _RESUME in line else None
        if record is not None and record["kind"] == kinds.Resume.kind and isinstance(record.get("step"), int):
            while resumes and resumes[-1][1] >= record["step"]:
                resumes.pop()
            resumes.append((number, record["step"]))
    return resumes[::-1]


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            yield from _bounded_lines(file)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Give the lines of a file; a line that is too long for a record is empty."""
    while line := file.readline(_LONGEST_LINE):
        too_long = len(line) == _LONGEST_LINE and not line.endswith(b"\n")
        yield b"" if too_long else line
        while too_long and (rest := file.readline(_LONGEST_LINE)):
            too_long = not rest.endswith(b"\n")


def _parse(line: bytes) -> Optional[dict]:
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parse_record(line: bytes) -> Optional[dict]:
    record = _parse(line)
    return record if record is not None and isinstance(record.get("kind"), str) else None


def _step(record: dict) -> float:
    step = record.get("step", 0)
    return step if isinstance(step, (int, float)) else 0


def evaluations_by_step(records: list[dict]) -> dict[int, dict[str, float]]:
    """Return the scores of all evaluations of a training by the update after which they were made."""
    by_step = {epoch.step: epoch.evaluation for epoch in kinds.select(kinds.Epoch, records)}
    return by_step | {each.step: each.scores for each in kinds.select(kinds.Evaluation, records)}

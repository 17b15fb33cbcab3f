"""Reading and writing of metrics.jsonl: a JSON object for each step, epoch and result, with its kind and its time."""

import json
from pathlib import Path

from common.runs import kinds


def append(path: Path, record: dict) -> None:
    """Append a record as a line of its own, even after a line that was cut off when the process was killed."""
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            cut_off = file.read(1) != b"\n"
        else:
            cut_off = False
        file.write((b"\n" if cut_off else b"") + json.dumps(record).encode() + b"\n")


def read_lines(path: Path) -> list[dict]:
    """Return the JSON objects of a file, one a line. Other lines, such as one that was cut off, are ignored."""
    objects: list[dict] = []
    if not path.is_file():
        return objects
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            objects.append(value)
    return objects


def read_records(path: Path) -> list[dict]:
    """Return the records of a metrics.jsonl, without those that the run repeated after it was resumed."""
    records: list[dict] = []
    for record in read_lines(path):
        if not isinstance(record.get("kind"), str):
            continue
        if record["kind"] == kinds.Resume.kind and isinstance(record.get("step"), int):
            records = [old for old in records if _step(old) <= record["step"]]
        records.append(record)
    return records


def _step(record: dict) -> float:
    step = record.get("step", 0)
    return step if isinstance(step, (int, float)) else 0


def evaluations_by_step(records: list[dict]) -> dict[int, dict[str, float]]:
    """Return the scores of all evaluations of a training by the update after which they were made."""
    by_step = {epoch.step: epoch.evaluation for epoch in kinds.select(kinds.Epoch, records)}
    return by_step | {each.step: each.scores for each in kinds.select(kinds.Evaluation, records)}

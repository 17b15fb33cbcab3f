"""metrics.jsonl, a run's record: one JSON object for each step, epoch and result, with its kind and its time."""

import json
from pathlib import Path

from common.runs import kinds


def append(path: Path, record: dict) -> None:
    """Add a record as a line of its own, also after a line that a kill has torn."""
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            torn = file.read(1) != b"\n"
        else:
            torn = False
        file.write((b"\n" if torn else b"") + json.dumps(record).encode() + b"\n")


def read_lines(path: Path) -> list[dict]:
    """The JSON objects of a file, one a line. Other lines are passed over: a kill may have torn one."""
    objects: list[dict] = []
    if not path.is_file():
        return objects
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            objects.append(found)
    return objects


def read_records(path: Path) -> list[dict]:
    """The records of a metrics.jsonl. What a run repeated after a resume is dropped in favour of the repetition."""
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
    """The scores of a training's evaluations, at epochs' ends and within them, by the update after which they were."""
    by_step = {epoch.step: epoch.evaluation for epoch in kinds.select(kinds.Epoch, records)}
    return by_step | {each.step: each.scores for each in kinds.select(kinds.Evaluation, records)}

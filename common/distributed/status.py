"""What a program on several ranks tells its launcher: small JSON files in a folder that the launcher names.

Rank 0 writes status.json, every rank that fails ending-RANK.json. Without a launcher that asks for them, nothing is
written. The folder has to be on a file system that the launcher and the ranks share.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from common.distributed import collectives, launchers

VARIABLE = "RUN_STATUS_FOLDER"  # names the folder; set by common.run


class Status(NamedTuple):
    """The state of a run. run_folder: empty until it is made. global_batch, updates: of a training, else 0."""

    run_folder: str = ""
    ranks: int = 0
    global_batch: int = 0
    updates: int = 0


class Ending(NamedTuple):
    """How a rank failed.

    kind: error, a mistake that the message explains; stopped, at a checkpoint because it was asked to; interrupted, by
    Ctrl-C; peer_lost, because another rank had gone; fault, an exception that is no mistake of the user's.
    """

    rank: int
    kind: str
    message: str
    exit_code: int


def update(environment: Mapping = os.environ, **values: object) -> None:
    """Change fields of status.json. Rank 0 only; the others' calls do nothing."""
    folder = environment.get(VARIABLE)
    if folder and collectives.is_root():
        _write(Path(folder) / "status.json", {**read_status(Path(folder))._asdict(), **values})


def end(kind: str, message: str, exit_code: int, environment: Mapping = os.environ) -> None:
    """Tell how this rank fails."""
    folder = environment.get(VARIABLE)
    if folder:
        ending = Ending(own_rank(environment), kind, message, exit_code)
        _write(Path(folder) / f"ending-{ending.rank}.json", ending._asdict())


def own_rank(environment: Mapping = os.environ) -> int:
    """This process's rank; before the ranks are connected, that which its launcher gave it."""
    return collectives.rank() if collectives.size() > 1 else launchers.started_rank(environment)


def _write(path: Path, values: dict) -> None:
    """Whole or not at all. A launcher that cannot be told is no reason to stop: it sees the rank's exit code."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(values), encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        pass


def read_status(folder: Path) -> Status:
    """The state that rank 0 last told; all fields empty if it told none."""
    values = _read(folder / "status.json")
    known = {name: value for name, value in values.items() if name in Status._fields}
    return Status(**known)


def read_endings(folder: Path) -> list[Ending]:
    """The endings of the ranks that failed, by rank."""
    endings = [_read(path) for path in folder.glob("ending-*.json")]
    return sorted(Ending(**values) for values in endings if values.keys() == set(Ending._fields))


def _read(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def clear(folder: Path) -> None:
    """Forget how the ranks of an earlier start failed; the run's state stays."""
    for path in folder.glob("ending-*.json"):
        path.unlink(missing_ok=True)

"""A run's folder: everything needed to trace, repeat or go on with a run, and nothing of any other run.

config.yaml        the resolved settings             mlperf.log     MLPerf events
environment.jsonl  versions, host ... of each start  metrics.jsonl  one JSON object a line: steps, epochs, results
checkpoints/       see common.training.checkpoints   model.keras    the trained network (and saved_model/)
tensorboard/       event files                       pictures/      curves and examples
wandb/             Weights & Biases, if asked for
"""

import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import yaml

from common import distributed
from common.config.render import dump
from common.config.settings import Settings, changeable
from common.distributed import status
from common.errors import UserError, storage_problem
from common.runs import kinds
from common.runs.environment import code_checksum, environment
from common.runs.records import append
from common.runs.settings import OutputSettings


class Run:
    """An open run folder, a context manager that lets go of its lock. All ranks hold one; only rank 0 writes."""

    def __init__(self, path: Path, resumed: bool, lock: Optional[int] = None, began_on: int = 0):
        """lock: rank 0's descriptor of the folder's lock. began_on: ranks of its first
        start; 0: as many as there are."""
        self.path, self.resumed, self._lock = path, resumed, lock
        self.began_on = began_on or distributed.size()
        self.listener: Optional[Callable[[dict], None]] = None  # rank 0's, told of every record after it is written

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def record(self, record: kinds.Record) -> None:
        """Append a line to metrics.jsonl: {"kind": ..., "time": seconds since 1970, ...}."""
        if distributed.is_root():
            line = {**kinds.as_json(record), "time": round(time.time(), 3)}
            append(self / "metrics.jsonl", line)
            if self.listener:
                self.listener(line)

    def say(self, text: str) -> None:
        """A line for the user, from rank 0 only."""
        if distributed.is_root():
            print(text, flush=True)

    def discard(self) -> None:
        """Remove the folder of a run that never began."""
        if distributed.is_root() and not self.resumed:
            shutil.rmtree(self.path, ignore_errors=True)


class NoRun(Run):
    """For what is only tried out: no folder, no records."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull), resumed=False)

    def record(self, record: kinds.Record) -> None:
        pass


class _Opened(NamedTuple):
    path: str
    resumed: bool
    began_on: int


def open_run(settings: Settings, output: OutputSettings, command: str, resume: Optional[str] = None) -> Run:
    """Make a new run folder, or open the one to go on with. A collective call.

    command: what is run, such as "NAME train"; a run goes on only with its own.
    resume: None for a new run; a folder; or "auto" for this command's run called run_name, without a name its newest in
        `output.folder` that has checkpoints, and a new run if there is none.
    Raises UserError if the name is taken, the folder cannot be written or is in use, or command or settings differ
    from the run's own.
    """
    distributed.check_same(
        "configuration", dump(settings), "give all nodes the same file and overrides, on a shared file system"
    )
    distributed.check_same(
        "version of this program or of TensorFlow",
        code_checksum(),
        "run the same checkout and environment on all nodes",
    )
    locks: list[int] = []

    def make() -> _Opened:
        parent = Path(output.folder).expanduser()
        folder = _folder_to_resume(parent, output.run_name, command, resume)
        if folder is not None:
            locks.append(_lock(folder))
            check_settings(folder / "config.yaml", settings, changeable(type(settings)))
        path = folder or _new_folder(parent, output.run_name)
        try:
            if folder is None:
                locks.append(_lock(path))
                (path / "config.yaml").write_text(dump(settings), encoding="utf-8")
            append(path / "environment.jsonl", {**environment(command), "resumed": folder is not None})
        except OSError as error:
            raise UserError(f"{path}: the run folder cannot be written ({storage_problem(error, path)})") from error
        return _Opened(str(path), folder is not None, _ranks_of(path))

    opened = distributed.on_root(make)
    status.update(run_folder=opened.path, ranks=distributed.size())
    return Run(Path(opened.path), opened.resumed, locks[0] if locks else None, opened.began_on)


def command_of(folder: Path) -> str:
    """What was run in a folder, by its first start; empty for what is not a run folder."""
    return str(_first_start(folder).get("command", ""))


def _ranks_of(folder: Path) -> int:
    """Of its first start; 0 if that is not known."""
    found = _first_start(folder).get("ranks")
    return found if isinstance(found, int) and found > 0 else 0


def _first_start(folder: Path) -> dict:
    """The first line of environment.jsonl; empty if there is none."""
    try:
        with open(folder / "environment.jsonl", encoding="utf-8") as file:
            found = json.loads(file.readline())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _folder_to_resume(parent: Path, name: str, command: str, resume: Optional[str]) -> Optional[Path]:
    if resume is None:
        return None
    if resume != "auto":
        folder = Path(resume).expanduser()
        if not (folder / "config.yaml").is_file():
            raise UserError(f"{folder}: is not a run folder (it has no config.yaml), so there is no run to resume")
        if command_of(folder) != command:
            raise UserError(
                f"{folder}: is a run of '{command_of(folder) or 'nothing known'}', not of '{command}'; "
                "a run goes on with the command that it was started with"
            )
        return folder
    if name:
        # Without a checkpoint too: a job that is requeued before its first one has its folder already.
        mine = (parent / name / "config.yaml").is_file() and command_of(parent / name) == command
        return parent / name if mine else None
    for folder in sorted(parent.glob("*"), reverse=True):
        if any(folder.glob("checkpoints/step-*")) and command_of(folder) == command:
            return folder
    return None


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder's lock; the system lets go of it when the process ends, however it does."""
    try:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"{folder}: the run folder cannot be written ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(f"{folder}: another process is running in this folder; wait for it, or stop it") from None
    except OSError:
        pass  # a file system without locks: as parallel ones may be
    return descriptor


def _new_folder(parent: Path, name: str) -> Path:
    try:
        parent.mkdir(parents=True, exist_ok=True)
        if name:
            (parent / name).mkdir()
            return parent / name
        stem, number = time.strftime("%Y%m%d-%H%M%S"), 1
        while True:
            path = parent / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
                return path
            except FileExistsError:
                number += 1
    except FileExistsError:
        taken = parent / name if name and parent.is_dir() else parent
        raise UserError(
            f"{taken}: exists already and is left as it is; choose another output.run_name, "
            "or go on with it with --resume"
            if taken != parent
            else f"{parent}: is a file, so no run folder can be made in it; choose another output.folder"
        ) from None
    except OSError as error:
        raise UserError(f"{error.filename}: the run folder cannot be made ({error.strerror})") from error


def check_settings(path: Path, settings: Settings, free: tuple[str, ...] = ()) -> None:
    """A continuation computes what the run would have: settings that matter must be the run's own, in its config.yaml.

    free: those that may differ, besides the output's. Raises UserError naming the first that differs."""
    try:
        theirs = _flatten(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]}): the run cannot go on") from error
    ours = _flatten(yaml.safe_load(dump(settings)))
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key) and key not in free and not key.startswith("output."):
            raise UserError(
                f"{path}: the run has {key}: {theirs.get(key)}, but {ours.get(key)} is asked for now; a run goes on "
                "with its own settings (leave --config away to take them), or start a new run"
            )


def _flatten(tree: dict, prefix: str = "") -> dict:
    flat: dict = {}
    for key, value in tree.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat

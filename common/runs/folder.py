"""A run's folder: everything needed to trace, repeat or resume the run, and nothing of any other run.

config.yaml        the resolved settings             mlperf.log     MLPerf events
environment.jsonl  versions, host ... of each start  metrics.jsonl  one JSON object a line: steps, epochs, results
checkpoints/       see common.training.checkpoints   model.keras    the trained network (and saved_model/)
tensorboard/       event files                       pictures/      curves and examples
wandb/             Weights & Biases (output.wandb)
"""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import yaml

from common import distributed
from common.config.render import dump
from common.config.settings import Settings, changeable
from common.distributed import status
from common.errors import UserError
from common.runs import kinds, locks, new_folder
from common.runs.environment import code_checksum, environment
from common.runs.locks import Lock
from common.runs.records import append
from common.runs.settings import OutputSettings


class Run:
    """An open run folder, as a context manager that releases its lock. All ranks have one; only rank 0 writes.

    Attributes:
        path: the folder's path.
        resumed: whether it existed before this start.
        began_on: number of ranks of its first start.
        listener: function that rank 0 calls with every record after it is written.
        settings: values by full name of those settings that a continuation must not change.
    """

    def __init__(self, path: Path, resumed: bool, lock: Optional[Lock] = None, began_on: int = 0):
        """Wrap a folder that `open_run` has created or found.

        Args:
            path: the folder's path.
            resumed: whether it existed before this start.
            lock: the folder's, on rank 0.
            began_on: number of ranks of its first start; 0 for the present number.
        """
        self.path, self.resumed, self._lock = path, resumed, lock
        self.began_on = began_on or distributed.size()
        self.listener: Optional[Callable[[dict], None]] = None
        self.settings: dict[str, Any] = {}

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

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
        """Print a line for the user, on rank 0 only."""
        if distributed.is_root():
            print(text, flush=True)

    def begin(self) -> None:
        """Note that the folder holds something of use from now on."""
        if distributed.is_root():
            new_folder.begin(self.path)

    def discard(self) -> None:
        """Remove the folder of a run that never began."""
        if distributed.is_root() and not self.resumed:
            status.update(run_folder="")
            shutil.rmtree(self.path, ignore_errors=True)


class NoRun(Run):
    """Stands in for a run in a dry run: no folder, no records."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull), resumed=False)

    def record(self, record: kinds.Record) -> None:
        pass

    def begin(self) -> None:
        pass


class _Opened(NamedTuple):
    path: str
    resumed: bool
    began_on: int


def open_run(settings: Settings, output: OutputSettings, command: str, resume: Optional[str] = None) -> Run:
    """Create a new run folder, or open the one to resume. A collective call.

    Args:
        settings: the run's settings.
        output: the section of `settings` that names the folder.
        command: what is run, such as "NAME train"; a run is resumed only with its own command.
        resume: None for a new run; the folder to resume; or "auto" for this command's run called run_name or, without a
            name, its newest run in `output.folder` that has checkpoints, and a new run if there is none.

    Raises:
        UserError: if the name is taken, the folder cannot be written or is in use, or command or settings differ from
            the run's own.
    """
    distributed.check_same(
        "configuration", dump(settings), "give all nodes the same file and overrides, on a shared file system"
    )
    distributed.check_same(
        "version of this program or of TensorFlow",
        code_checksum(),
        "run the same checkout and environment on all nodes",
    )
    held: list[Lock] = []

    def open_folder() -> _Opened:
        parent = Path(output.folder).expanduser()
        path = _folder_to_resume(parent, output.run_name, command, resume)
        start = {**environment(command), "resumed": path is not None}
        if path is None:
            path, lock = new_folder.create(parent, output.run_name, dump(settings), start)
            held.append(lock)
        else:
            held.append(locks.lock(path))
            check_settings(path / "config.yaml", settings, changeable(type(settings)))
            append(path / "environment.jsonl", start)
        status.update(run_folder=str(path), ranks=distributed.size())
        return _Opened(str(path), bool(start["resumed"]), _ranks_of(path))

    opened = distributed.on_root(open_folder)
    run = Run(Path(opened.path), opened.resumed, held[0] if held else None, opened.began_on)
    run.settings = _fixed(_flatten(yaml.safe_load(dump(settings))), changeable(type(settings)))
    return run


def command_of(folder: Path) -> str:
    """Return what was run in a folder, such as "NAME train"; empty if it is not a run folder."""
    return str(_first_start(folder).get("command", ""))


def _ranks_of(folder: Path) -> int:
    """Return the number of ranks of the first start; 0 if it is not known."""
    ranks = _first_start(folder).get("ranks")
    return ranks if isinstance(ranks, int) and ranks > 0 else 0


def _first_start(folder: Path) -> dict:
    """Return the first line of environment.jsonl; empty if there is none."""
    try:
        with open(folder / "environment.jsonl", encoding="utf-8") as file:
            start = json.loads(file.readline())
    except (OSError, ValueError):
        return {}
    return start if isinstance(start, dict) else {}


def _folder_to_resume(parent: Path, name: str, command: str, resume: Optional[str]) -> Optional[Path]:
    """Return the run folder that `resume` of `open_run` stands for; None for a new run. Raises UserError."""
    if resume is None:
        return None
    if resume != "auto":
        folder = Path(resume).expanduser()
        if not (folder / "config.yaml").is_file():
            raise UserError(f"{folder}: is not a run folder (it has no config.yaml), so it cannot be resumed")
        if command_of(folder) != command:
            raise UserError(
                f"{folder}: is a run of '{command_of(folder) or 'an unknown command'}', not of '{command}'; "
                "resume it with the command that it was started with"
            )
        return folder
    if name:
        # Also without a checkpoint: a job that is requeued before its first checkpoint already has its folder.
        same_run = (parent / name / "config.yaml").is_file() and command_of(parent / name) == command
        return parent / name if same_run else None
    for folder in sorted(parent.glob("*"), reverse=True):
        if any(folder.glob("checkpoints/step-*")) and command_of(folder) == command:
            return folder
    return None


def check_settings(path: Path, settings: Settings, free: tuple[str, ...] = ()) -> None:
    """Check that a continuation has the settings of the run, so that it computes what the run would have.

    Args:
        path: the run's config.yaml.
        settings: the continuation's settings.
        free: full names of settings that may differ, besides those of the section output.

    Raises:
        UserError: for the first setting that differs, or if the file cannot be read.
    """
    try:
        of_run = _flatten(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]}): the run cannot be resumed") from error
    present = _flatten(yaml.safe_load(dump(settings)))
    for key in _fixed(dict.fromkeys(sorted({*of_run, *present})), free):
        if of_run.get(key) != present.get(key):
            raise UserError(
                f"{path}: the run has {key}: {of_run.get(key)}, but {present.get(key)} is requested now; a run is "
                "resumed with its own settings (leave out --config to use them), or start a new run"
            )


def check_trained_with(trained: Any, run: Run, checkpoint: Path) -> None:
    """Check that the run's settings are those that a checkpoint was trained with: its config.yaml may have been edited.

    Args:
        trained: `Run.settings` when the checkpoint was saved, from JSON; None for a checkpoint of an older version.
        run: the continuation.
        checkpoint: for the message.

    Raises:
        UserError: for the first setting that differs.
    """
    for key in sorted(trained.keys() & run.settings.keys()) if isinstance(trained, dict) else ():
        if trained[key] != run.settings[key]:
            raise UserError(
                f"{checkpoint}: was trained with {key}: {trained[key]}, but {run.path / 'config.yaml'} has "
                f"{run.settings[key]} now: put the value back, or start a new run"
            )


def _fixed(values: dict[str, Any], free: tuple[str, ...]) -> dict[str, Any]:
    """Those of the values by full name that a continuation must not change."""
    return {key: value for key, value in values.items() if key not in free and not key.startswith("output.")}


def _flatten(tree: dict, prefix: str = "") -> dict:
    """Return the values of nested dictionaries by their full names."""
    flat: dict = {}
    for key, value in tree.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat

"""A run's folder: everything needed to trace, repeat or go on with a run, and nothing of any other run.

config.yaml        the resolved settings           mlperf.log     MLPerf events
environment.json   versions, host, commit ...      metrics.jsonl  one JSON object a line: steps, epochs, results
checkpoints/       see common.training.checkpoints model.keras    the trained network (and saved_model/)
tensorboard/       event files                     pictures/      curves and examples
"""

import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

import psutil
import tensorflow as tf
import yaml
from pydantic import Field

from common import distributed
from common.config import render
from common.config import settings as config
from common.errors import UserError

# May differ between a run and its continuation: they do not change what a step computes.
FREE_ON_RESUME = (
    "training.epochs",
    "training.max_epochs",
    "training.logging_frequency",
    "training.save_frequency",
    "training.keep_checkpoints",
)


class OutputSettings(config.Settings):
    folder: str = Field("runs", description="folder in which every run makes a folder of its own")
    run_name: str = Field("", description="name of the run's folder; empty makes one from date and time")
    tensorboard: bool = Field(True, description="write TensorBoard event files")


class Run:
    """An open run folder. All ranks hold one; only rank 0 writes."""

    def __init__(self, path: Path, resumed: bool):
        self.path, self.resumed = path, resumed

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def record(self, kind: str, **values: Any) -> None:
        """Append a line to metrics.jsonl: {"kind": ..., "time": seconds since 1970, ...}."""
        if distributed.is_root():
            with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"kind": kind, "time": round(time.time(), 3), **values}) + "\n")

    def say(self, text: str) -> None:
        """A line for the user, from rank 0 only."""
        if distributed.is_root():
            print(text, flush=True)


def open_run(settings: config.Settings, output: OutputSettings, command: str, resume: Optional[str] = None) -> Run:
    """Make a new run folder, or open the one to go on with. A collective call.

    resume: None for a new run; a folder; or "auto" for the newest run of this command in `output.folder` (or the one
        called run_name) that has checkpoints, and a new run if there is none.
    Raises UserError if the name is taken, the folder cannot be written, or the settings differ from the run's own.
    """

    distributed.check_same(
        "configuration", render.dump(settings), "give all nodes the same file and overrides, on a shared file system"
    )
    distributed.check_same(
        "version of this program or of TensorFlow",
        _code_checksum(),
        "run the same checkout and environment on all nodes",
    )

    def make() -> tuple:
        parent = Path(output.folder).expanduser()
        found = _find(parent, output.run_name, command, resume)
        if found is not None:
            _compare(found / "config.yaml", settings)
            _write_json(found / "environment.json", {**environment(command), "resumed": True})
            return str(found), True
        path = _new_folder(parent, output.run_name)
        (path / "config.yaml").write_text(render.dump(settings), encoding="utf-8")
        _write_json(path / "environment.json", environment(command))
        return str(path), False

    path, resumed = distributed.on_root(make)
    return Run(Path(path), resumed)


def settings_file(config_file: Optional[str], resume: Optional[str]) -> Optional[str]:
    """The YAML file to load: the one that was named, or the run's own if a run's folder is resumed without one."""
    if config_file is None and resume not in (None, "auto"):
        return str(Path(resume) / "config.yaml")
    return config_file


def _find(parent: Path, name: str, command: str, resume: Optional[str]) -> Optional[Path]:
    if resume is None:
        return None
    if resume != "auto":
        if not (Path(resume) / "config.yaml").is_file():
            raise UserError(f"{resume}: no run to resume: it has no config.yaml")
        return Path(resume)
    folders = [parent / name] if name else sorted(parent.glob("*"), reverse=True)
    for folder in folders:
        if any(folder.glob("checkpoints/step-*")) and _command_of(folder) == command:
            return folder
    return None


def _command_of(folder: Path) -> str:
    try:
        return json.loads((folder / "environment.json").read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError):
        return ""


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
        raise UserError(
            f"{parent / name}: this run exists already and is left as it is; choose another output.run_name, "
            "or go on with it with --resume"
        ) from None
    except OSError as error:
        raise UserError(f"{error.filename}: the run folder cannot be made ({error.strerror})") from error


def _compare(path: Path, settings: config.Settings) -> None:
    """A continuation computes what the run would have: settings that matter must be the run's own."""
    theirs = _flatten(yaml.safe_load(path.read_text(encoding="utf-8")))
    ours = _flatten(yaml.safe_load(render.dump(settings)))
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key) and key not in FREE_ON_RESUME and not key.startswith("output."):
            raise UserError(
                f"{path}: the run has {key}: {theirs.get(key)}, but {ours.get(key)} is asked for now; a run goes on "
                "with its own settings (leave --config away to take them), or start a new run"
            )


def _flatten(tree: dict, prefix: str = "") -> dict:
    flat: dict = {}
    for key, value in tree.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def environment(command: str) -> dict:
    """What a reader of the figures needs to know about where they came from."""
    packages = ("tensorflow", "horovod", "h5py", "numpy", "scikit-learn", "mlperf-logging")
    return {
        "command": command,
        "command_line": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "operating_system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": [gpu.name for gpu in tf.config.list_physical_devices("GPU")],
        "ranks": distributed.size(),
        "nodes": distributed.nodes(),
        "commit": commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def commit() -> str:
    """The code's commit, with + if the working tree differs from it; empty outside a git checkout."""
    root = Path(__file__).resolve().parents[2]
    try:
        ask = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(ask, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _code_checksum() -> str:
    """Of what computes: the source files and TensorFlow's version."""
    root, digest = Path(__file__).resolve().parents[2], hashlib.sha256(tf.__version__.encode())
    for folder in ("common", "cloudmask", "tf_deepcam"):
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_records(path: Path) -> list:
    """The records of a metrics.jsonl. What a run repeated after a resume is dropped in favour of the repetition."""
    records: list = []
    if not path.is_file():
        return records
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a line torn by a kill
        if record["kind"] == "resume":
            records = [old for old in records if old.get("step", 0) <= record["step"]]
        records.append(record)
    return records


def move_aside(path: Path) -> None:
    """Rename a file or folder that is there to the first free of NAME.1, NAME.2 ..."""
    if path.exists():
        number = 1
        while (aside := path.with_name(f"{path.name}.{number}")).exists():
            number += 1
        os.replace(path, aside)


def check_writable(path: Path) -> None:
    """Raise UserError now if a file could not be written at `path` hours later."""
    folder = path.expanduser().absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}): choose another place") from error


def deliver(source: Path, target: Path) -> None:
    """Copy a file of the run to where the user wants it as well; a file that is there already is moved aside."""
    target = target.expanduser()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        move_aside(target)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error

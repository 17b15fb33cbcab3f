"""Checkpoints that survive a kill at any moment, and from which a run resumes exactly.

A checkpoint is a folder `step-00000042` with `state.npz` (every array of the training state, by name) and
`manifest.json` (position in the run, SHA-256 of state.npz). It is written under a temporary name that begins with a
dot, flushed to disk and renamed, so that a folder without the dot is always complete; the checksum detects damage
afterwards.
"""

import hashlib
import json
import os
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from common.errors import UserError, storage_problem

# What reading a damaged checkpoint raises.
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, RecursionError, zipfile.BadZipFile)

_NAME = re.compile(r"step-(\d{8,})$")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory."""

    path: Path
    step: int
    arrays: dict  # name -> numpy array
    position: dict  # what else the run needs to resume (epoch, best score ...), as JSON


def path_of(folder: Path, step: int) -> Path:
    """The folder of the checkpoint of `step` in a run's folder of checkpoints."""
    return folder / f"step-{step:08d}"


def save(folder: Path, step: int, arrays: dict, position: dict, keep: int, best: Optional[int] = None) -> Path:
    """Write the checkpoint of `step` into `folder`, then delete older ones. Rank 0 only.

    Args:
        folder: the run's folder of checkpoints.
        step: updates done.
        arrays: {name: numpy array}.
        position: what else the run needs to resume, as JSON.
        keep: the newest checkpoints to keep.
        best: step of one more checkpoint to keep.

    Returns:
        The checkpoint's folder.

    Raises:
        UserError: if the disk is full or the folder cannot be written; older checkpoints are kept then.
    """
    final = path_of(folder, step)
    temporary = folder / f".{final.name}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        with open(temporary / "state.npz", "wb") as file:
            np.savez(file, **arrays)
            _flush(file)
        manifest = {"step": step, "sha256": _checksum(temporary / "state.npz"), "position": position}
        with open(temporary / "manifest.json", "w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            _flush(file)
        _flush_folder(temporary)
        if final.exists():  # the same step again, after a resume from the checkpoint before it
            shutil.rmtree(final)
        os.replace(temporary, final)
        _flush_folder(folder)
        _flush_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        problem = storage_problem(error, folder.parent, sum(array.nbytes for array in arrays.values()))
        raise UserError(f"{final}: checkpoint cannot be written ({problem}); the older ones are kept") from error
    for old in list_steps(folder)[:-keep]:
        if old != best:
            shutil.rmtree(path_of(folder, old), ignore_errors=True)
    return final


def list_steps(folder: Path) -> list:
    """List the steps of the checkpoints in `folder` in ascending order, without verifying them."""
    names = (_NAME.match(path.name) for path in folder.glob("step-*")) if folder.is_dir() else ()
    return sorted(int(name.group(1)) for name in names if name)


def load_newest(folder: Path, say: Callable[[str], None]) -> Optional[Checkpoint]:
    """Load the newest undamaged checkpoint; None if the folder holds no checkpoints.

    Args:
        folder: the run's folder of checkpoints.
        say: called with a line for each damaged checkpoint.

    Raises:
        UserError: if there are checkpoints but all are damaged.
    """
    steps = list_steps(folder)
    for step in reversed(steps):
        path = path_of(folder, step)
        try:
            return load(folder, step)
        except DAMAGED as error:
            say(f"checkpoint {path} is damaged ({error}); trying the one before it")
    if steps:
        raise UserError(f"{folder}: all {len(steps)} checkpoints are damaged; start a new run")
    return None


def load(folder: Path, step: int) -> Checkpoint:
    """Load the checkpoint of `step`. Raises one of DAMAGED if it is damaged or missing."""
    path = path_of(folder, step)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or not isinstance(manifest.get("position"), dict):
        raise ValueError("its manifest.json is not a manifest")
    checksum = _checksum(path / "state.npz")
    if checksum != manifest["sha256"]:
        raise ValueError(f"checksum {checksum[:12]}, written as {str(manifest['sha256'])[:12]}")
    if manifest["step"] != step:
        raise ValueError(f"it is of step {manifest['step']}")
    with np.load(path / "state.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Checkpoint(path, step, arrays, manifest["position"])


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _flush(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The environment that a run's figures come from: machine, versions, commit, command line."""

import contextlib
import hashlib
import platform
import socket
import subprocess
import sys
import time
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import tensorflow as tf

from common import distributed, resources
from common.cli.registry import benchmarks


def environment(command: str) -> dict:
    """Return a start's line of environment.jsonl: what a reader needs to know to judge or repeat its figures.

    Args:
        command: what is run, such as "NAME train".
    """
    packages = ("horovod", "h5py", "numpy", "scikit-learn", "mlperf-logging")
    return {
        "command": command,
        "command_line": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "operating_system": platform.platform(),
        "python": platform.python_version(),
        # As TensorFlow itself says: its package may have another name, such as tensorflow-cpu or tensorflow-rocm.
        "packages": {"tensorflow": tf.__version__, **_versions(packages)},
        "processor": _processor(),
        "sockets": _sockets(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": [_model(gpu) for gpu in tf.config.list_physical_devices("GPU")],
        "ranks": distributed.size(),
        "nodes": distributed.nodes(),
        "commit": commit(),
    }


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those packages that are installed; Horovod need not be."""
    versions = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _sockets() -> int:
    """Return the number of processor sockets; 1 if the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return 1
    return len({line for line in lines if line.startswith("physical id")}) or 1


def _model(gpu: Any) -> str:
    return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)


def commit() -> str:
    """Return the code's commit, with + if the working tree differs from it; empty for a checkout without git.

    For an installed package it is "version X": git would name the commit of the project that its environment lies in.
    """
    if resources.CHECKOUT is None:
        return f"version {resources.version()}"
    try:
        folder = str(resources.CHECKOUT)
        words = ["git", "-C", folder, "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


@lru_cache(maxsize=1)  # needed several times, and the files are on a shared file system
def code_checksum() -> str:
    """Return a checksum of the source files and TensorFlow's version, on which all results depend."""
    digest = hashlib.sha256(tf.__version__.encode())
    for folder in (resources.PACKAGE, *(benchmark.folder for benchmark in benchmarks().values())):
        for path in resources.sources(folder):
            digest.update(str(path.relative_to(folder.parent)).encode() + path.read_bytes())
    return digest.hexdigest()

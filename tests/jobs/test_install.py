"""jobs/install.sh on machines that lack something: one line that says what to install, and nothing made."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import ROOT

TOOLS = ("bash", "dirname", "tail", "grep")


def install(folder: Path, programs: dict) -> subprocess.CompletedProcess:
    """Run it with nothing on PATH but a few tools and `programs`, {name: shell text}."""
    path = folder / "bin"
    path.mkdir()
    for tool in TOOLS:
        os.symlink(shutil.which(tool), path / tool)
    for name, text in programs.items():
        (path / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
        (path / name).chmod(0o755)
    call = [str(path / "bash"), str(ROOT / "jobs" / "install.sh"), str(folder / "venv")]
    return subprocess.run(call, env={"PATH": str(path)}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ({}, "install: no C++ compiler found, and Horovod needs one: install g++"),
        ({"g++": "exit 0"}, "install: no Python 3.9, 3.10 or 3.11 with venv found: install one"),
        # a Python that is there but does not fit, and a wrapper that refuses to run
        ({"c++": "exit 0", "python3": "exit 1", "python3.11": "exit 127"}, "install: no Python 3.9, 3.10 or 3.11"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, programs, message):
    done = install(tmp_path, programs)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(message)
    assert not (tmp_path / "venv").exists()

"""Ours against other programs for the same work: python -m tests.bench.rivals NAME

Each is a process that lives through all its repeats, with its own threads and memory, and is stopped while the others
are measured. The rivals are told to keep memory that they free (`KEPT`), without which PyTorch is up to twice as slow;
ours runs as a user runs it. PyTorch is no part of the installation: where it is absent its rows are left out.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from functools import partial

from tests.bench.measure import alternately, row
from tests.helpers import ROOT, environment

# The C library's settings: no memory by mmap, none given back below 64 GiB, 1 GiB taken at once.
KEPT = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:glibc.malloc.top_pad=1073741824"
PROGRAMS = {"cloudmask": ("pytorch", "keras_unet"), "deepcam": ("pytorch",)}
TITLES = {
    ("cloudmask", "forward"): "CloudMask, a scene",
    ("cloudmask", "step"): "CloudMask, step of 4 patches",
    ("deepcam", "forward"): "DeepCAM, a sample",
    ("deepcam", "step"): "DeepCAM, step of a sample",
}
REPEATS = 9


class Contestant:
    """A process of tests.bench.contestants; `measure` is one unit of its work. Use as a context."""

    def __init__(self, *arguments: str):
        kept = {} if arguments[0] == "ours" else {"GLIBC_TUNABLES": KEPT}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.contestants", *arguments],
            cwd=ROOT,
            env=environment(**kept),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=os.setpgrp,  # a stopped group whose parent dies is ended by the kernel (SIGHUP, SIGCONT)
        )
        self._arguments = " ".join(arguments)
        self.name = self._answer()
        self._process.send_signal(signal.SIGSTOP)

    def measure(self) -> float:
        """Seconds."""
        self._process.send_signal(signal.SIGCONT)
        print("next", file=self._process.stdin, flush=True)
        seconds = float(self._answer())
        self._process.send_signal(signal.SIGSTOP)
        return seconds

    def _answer(self) -> str:
        for line in self._process.stdout:
            if line.startswith("> "):
                return line[2:].strip()
        raise RuntimeError(f"contestant '{self._arguments}' ended with exit code {self._process.wait()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()


def contest(benchmark: str, kind: str, precision: str) -> None:
    title = f"{TITLES[benchmark, kind]}, {precision}"
    for program in PROGRAMS[benchmark]:
        if program == "pytorch" and importlib.util.find_spec("torch") is None:
            print(json.dumps({"name": title, "skipped": "PyTorch is not installed (docs/results.md says how)"}))
            continue
        # Rival by rival: three processes with their memory kept would need more than a small machine has.
        what = (benchmark, kind, precision)
        with Contestant("ours", *what) as ours, Contestant(program, *what) as rival:
            seconds = alternately(ours.measure, rival.measure, REPEATS)
            row(title, *seconds, "s", 1.0, rival.name, higher=False)


MEASUREMENTS = {
    f"{benchmark}-{kind}-{precision.removeprefix('mixed_')}": partial(contest, benchmark, kind, precision)
    for benchmark, kind in TITLES
    for precision in ("float32", "mixed_bfloat16")
}

if __name__ == "__main__":
    MEASUREMENTS[sys.argv[1]]()

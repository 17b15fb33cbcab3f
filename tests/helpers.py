"""What several tests need: tiny scenes, the settings that fit them, and the program as a real process."""

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from common.training import checkpoints

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / "golden"

HEIGHT, WIDTH, PATCH = 72, 104, 32  # not square, no multiple of the patch: 2 x 3 patches, cut from row 4, column 4
TINY = [f"data.image_h={HEIGHT}", f"data.image_w={WIDTH}", f"data.patch_size={PATCH}", "training.local_batch_size=2"]


class WebServer(http.server.ThreadingHTTPServer):
    """A web server on which clients may hang up, which downloads do on purpose."""

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def scene_arrays(seed: int, height: int = HEIGHT, width: int = WIDTH) -> dict:
    """A scene in the benchmark's layout, in which cold pixels are cloud; the operational mask takes every fourth clear
    column for cloud besides."""
    rng = np.random.default_rng(seed)
    refs = rng.random((height, width, 6))
    bts = (230 + 80 * rng.random((height, width, 3))).astype(np.float32)
    bayes = np.where(bts[..., 1:2] < 265, 255.0, 0.0)
    summary = bayes.copy()
    summary[:, ::4] = 255.0
    return {"refs": refs, "bts": bts, "bayes": bayes, "rads": refs.astype(np.float32), "summary": summary}


def write_hdf(path: Path, arrays: dict, **options) -> Path:
    """Write arrays as datasets of an HDF5 file; options go to h5py (chunks, compression)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)
    return path


def write_scenes(folder: Path, count: int) -> list:
    """`count` tiny scenes S3A_000.hdf ... in `folder`."""
    return [write_hdf(folder / f"S3A_{number:03d}.hdf", scene_arrays(number)) for number in range(count)]


def command(*arguments, ranks: int = 1) -> list:
    """The command line of `python ARGUMENTS` on one rank, or under horovodrun on several."""
    python = [sys.executable, *map(str, arguments)]
    if ranks == 1:
        return python
    return [str(Path(sys.executable).parent / "horovodrun"), "--gloo", "-np", str(ranks), *python]


def environment(**more: str) -> dict:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    packages = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": packages, **more}


def run(*arguments, ranks: int = 1, cwd: Path = ROOT, timeout: int = 240, **env: str) -> subprocess.CompletedProcess:
    """Run to the end; the output is text, standard error included in stdout."""
    return subprocess.run(
        command(*arguments, ranks=ranks),
        cwd=cwd,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )


@contextlib.contextmanager
def _trained_until(arguments: list, run_folder: Path, step: int, ranks: int):
    """Start `python ARGUMENTS`, and go on once the run has a checkpoint of `step` or later."""
    with subprocess.Popen(
        command(*arguments, ranks=ranks),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 200
        while max(checkpoints.list_steps(run_folder / "checkpoints"), default=0) < step:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield process


def kill_after(arguments: list, run_folder: Path, step: int, ranks: int) -> None:
    """Start `python ARGUMENTS` and kill -9 all of its processes once the run has a checkpoint of `step` or later."""
    with _trained_until(arguments, run_folder, step, ranks) as process:
        os.killpg(process.pid, signal.SIGKILL)
        for rank in processes_with(str(run_folder.parent)):
            os.kill(rank, signal.SIGKILL)


def warn_after(arguments: list, run_folder: Path, step: int, ranks: int) -> tuple:
    """The same with SIGUSR1 to one rank only; (exit code, output) of the whole."""
    with _trained_until(arguments, run_folder, step, ranks) as process:
        programs = [rank for rank in processes_with(str(run_folder.parent)) if is_program(rank)]
        os.kill(programs[-1], signal.SIGUSR1)
        output = process.communicate(timeout=100)[0]
    return process.returncode, output


def is_program(process: int) -> bool:
    """Whether it is `python -m ...` itself, not a launcher that has that in its command line."""
    words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    return b"python" in words[0] and words[1] == b"-m"


def processes_with(text: str) -> list:
    """Numbers of the processes that have `text` in their command line; horovodrun's ranks are in no common group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError, ValueError):
            if text.encode() in entry.read_bytes() and int(entry.parent.name) != os.getpid():
                found.append(int(entry.parent.name))
    return found


def errors(output: str) -> list:
    """The program's own error lines, without horovodrun's prefix."""
    lines = (line.split("<stderr>:", 1)[-1] for line in output.splitlines())
    return [line for line in lines if line.startswith("error: ")]


def records(run_folder: Path, kind: str) -> list:
    """The records of one kind in a run's metrics.jsonl."""
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]

"""A disk that refuses: real system calls fail on one file. One line that names it, and what was there is as it was."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.common.data.test_storage import preloaded
from tests.helpers import ROOT, TINY, command, environment, errors, write_scenes

# FAIL_CALL fails with FAIL_ERRNO on paths that end with FAIL_NAME.
CALLS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
static int fails(const char *call, const char *path) {
    const char *name = getenv("FAIL_NAME"), *chosen = getenv("FAIL_CALL");
    if (!name || !chosen || strcmp(call, chosen) || !path) return 0;
    size_t whole = strlen(path), end = strlen(name);
    if (whole < end || strcmp(path + whole - end, name)) return 0;
    errno = atoi(getenv("FAIL_ERRNO"));
    return 1;
}
static int fails_at(const char *call, int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return fails(call, path);
}
#define NEXT(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))
#define OPEN(name) int name(const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
    if (fails((flags & O_ACCMODE) == O_RDONLY ? "open to read" : "open", path)) return -1; \
    return NEXT(name)(path, flags, mode); }
OPEN(open)
OPEN(open64)
ssize_t write(int descriptor, const void *bytes, size_t count) {
    return fails_at("write", descriptor) ? -1 : NEXT(write)(descriptor, bytes, count);
}
ssize_t read(int descriptor, void *bytes, size_t count) {
    return fails_at("read", descriptor) ? -1 : NEXT(read)(descriptor, bytes, count);
}
ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
    return fails_at("write", descriptor) ? -1 : NEXT(pwrite64)(descriptor, bytes, count, offset);
}
int rename(const char *old, const char *new) { return fails("rename", new) ? -1 : NEXT(rename)(old, new); }
"""
PROGRAM = """
import sys
from pathlib import Path
from common.cli.program import run_program
from common.runs import files
from common.runs.mlperf import Log
from common.runs.records import append, read_records
def main():
    folder = Path(sys.argv[1])
    append(folder / "metrics.jsonl", {"kind": "step", "step": 2})
    Log(folder / "mlperf.log").event("key", 1)
    files.write_text(folder / "report.md", "new")
    return len(read_records(folder / "metrics.jsonl")) - 2
run_program(main)
"""
OLD = {"metrics.jsonl": '{"kind": "step", "step": 1}\n', "mlperf.log": "a line\n", "report.md": "old"}
WORDS = {"EIO": "Input/output error", "ENOSPC": "No space left on device", "EACCES": "Permission denied"}


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> dict:
    return preloaded(tmp_path_factory.mktemp("preload"), CALLS)


def failing(library: dict, call: str, name: str, error: str) -> dict:
    return environment(**library, FAIL_CALL=call, FAIL_NAME=name, FAIL_ERRNO=str(getattr(errno, error)))


def start(words: list, variables: dict) -> subprocess.CompletedProcess:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 200}
    return subprocess.run(words, env=variables, cwd=ROOT, **options)


@pytest.mark.parametrize("name", OLD)
@pytest.mark.parametrize(("call", "error"), [("write", "EIO"), ("write", "ENOSPC"), ("open", "EACCES")])
def test_what_cannot_be_written_is_one_line_and_nothing_is_torn(tmp_path, library, name, call, error):
    for old, content in OLD.items():
        (tmp_path / old).write_text(content)
    done = start([sys.executable, "-c", PROGRAM, str(tmp_path)], failing(library, call, f"/{name}", error))
    assert done.stdout.startswith(f"error: {tmp_path}/{name}: cannot be written ({WORDS[error]}; ")
    assert (done.stdout.count("\n"), done.returncode) == (1, 1)
    assert (tmp_path / name).read_text() == OLD[name]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OLD)


@pytest.mark.parametrize(("call", "error"), [("read", "EIO"), ("open to read", "EACCES")])
@pytest.mark.parametrize(
    "words", [["common.report", "{}"], ["common.export", "{}", "--to", "mlflow", "--folder", "{}/out"]]
)
def test_records_that_cannot_be_read_are_one_line(tmp_path, library, words, call, error):
    run_folder(tmp_path)
    command = [sys.executable, "-m", *(word.format(tmp_path) for word in words)]
    done = start(command, failing(library, call, "/metrics.jsonl", error))
    assert done.stdout == f"error: {tmp_path}/metrics.jsonl: cannot be read ({WORDS[error]})\n"
    assert done.returncode == 1


def run_folder(folder: Path) -> None:
    from tests.common.report.test_report import write_log

    write_log(folder / "mlperf.log")
    (folder / "config.yaml").write_text("benchmark: deepcam\n")
    (folder / "environment.jsonl").write_text('{"command": "deepcam train", "started": ""}\n')
    (folder / "metrics.jsonl").write_text(OLD["metrics.jsonl"])


NETWORK = """
import os, sys
from pathlib import Path
import common
import tensorflow as tf
from common.errors import UserError
from common.keras import files
path = Path(sys.argv[1]) / "model.keras"
network = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
os.environ["FAIL_NAME"] = "/none"
files.save(network, path)
whole = path.read_bytes()
os.environ["FAIL_NAME"] = "/model.keras"
for call, error in (("write", 28), ("write", 5), ("open", 13), ("rename", 5)):
    os.environ["FAIL_CALL"], os.environ["FAIL_ERRNO"] = call, str(error)
    try:
        files.save(network, path)
    except UserError as problem:
        print(problem)
    assert path.read_bytes() == whole
    assert [each.name for each in path.parent.iterdir()] == [path.name]
"""


def test_a_network_that_cannot_be_saved_leaves_the_one_before(tmp_path, library):
    done = start([sys.executable, "-c", NETWORK, str(tmp_path)], environment(**library))
    reasons = [WORDS[error] for error in ("ENOSPC", "EIO", "EACCES", "EIO")]
    lines = [line for line in done.stdout.splitlines() if "cannot be written" in line]
    assert [line.split("(")[1].split(";")[0] for line in lines] == reasons, done.stdout
    assert all(line.startswith(f"{tmp_path}/model.keras: cannot be written (") for line in lines)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "call", "error"),
    [
        ("metrics.jsonl", "write", "EIO"),
        ("mlperf.log", "open", "EACCES"),
        ("model.keras", "write", "ENOSPC"),
        ("baseline.json", "rename", "EIO"),
        ("report.md", "rename", "ENOSPC"),
    ],
)
def test_a_run_ends_with_one_line_that_names_the_file(tmp_path, library, name, call, error):
    write_scenes(tmp_path / "scenes", 5)
    places = [f"data.train_dir={tmp_path}/scenes", f"inference.inference_dir={tmp_path}/scenes"]
    settings = [*TINY, *places, f"output.folder={tmp_path}/runs", "output.run_name=x", "training.epochs=1"]
    done = start(command("-m", "cloudmask", "run", *settings), failing(library, call, f"/{name}", error))
    assert done.returncode == 1
    (line,) = errors(done.stdout)
    assert line.startswith(f"error: {tmp_path}/runs/x/{name.split('/')[0]}: cannot be written ("), line
    assert WORDS[error] in line
    assert "Traceback" not in done.stdout
    if name in ("model.keras", "baseline.json", "report.md"):
        assert not (tmp_path / "runs" / "x" / name).exists()
    assert [path for path in (tmp_path / "runs").rglob("*.tmp")] == []

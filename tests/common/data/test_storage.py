"""File systems that refuse: no locks, files that may not grow. Real processes, one line of error, nothing left torn."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import environment, errors, write_scenes

NO_LOCKS = """
#include <errno.h>
int flock(int descriptor, int operation) { errno = ENOLCK; return -1; }
"""
QUOTA = """
#define _GNU_SOURCE
#include <errno.h>
#include <sys/types.h>
ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) { errno = EDQUOT; return -1; }
ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) { errno = EDQUOT; return -1; }
"""
SMALL = ["--height", "72", "--width", "104"]
SCENES = ["cloudmask", "synthesize", "--scenes", "1", *SMALL]
SAMPLES = ["tf_deepcam", "synthesize", "--train", "1", "--validation", "1", "--height", "64", "--width", "96"]


def start(words: list, folder: Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *words]
    variables = {**environment(), **options.pop("env", {})}
    return subprocess.run(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


def preloaded(folder: Path, source: str) -> dict:
    """Variables with which system calls do what `source` says."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "calls.c").write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "calls.so", folder / "calls.c"], check=True)
    return {"LD_PRELOAD": str(folder / "calls.so")}


@pytest.fixture(scope="module")
def no_locks(tmp_path_factory) -> dict:
    """Variables with which flock fails as on Lustre that was mounted without it."""
    return preloaded(tmp_path_factory.mktemp("preload"), NO_LOCKS)


@pytest.mark.parametrize("locking", ["TRUE", "FALSE", "BEST_EFFORT", "1", "0"])
def test_samples_are_written_and_read_whatever_hdf5_is_told_of_locks(tmp_path, locking):
    made = start([*SAMPLES, "--folder", "out"], tmp_path, env={"HDF5_USE_FILE_LOCKING": locking})
    assert made.returncode == 0, made.stdout  # it reads them, too, for stats.h5
    assert (tmp_path / "out" / "stats.h5").is_file()


def test_an_exhausted_quota_is_one_line(tmp_path):
    done = start([*SAMPLES, "--folder", "out"], tmp_path, env=preloaded(tmp_path, QUOTA))
    assert done.returncode == 1
    (line,) = errors(done.stdout)
    assert "cannot be written (Disk quota exceeded" in line
    files = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {".lock", "made.json"}  # what it was about to make, for the repeat


@pytest.mark.parametrize("form", ["dataset", "sen3"])
def test_scenes_are_written_and_converted_where_there_are_no_locks(tmp_path, no_locks, form):
    made = start([*SCENES, "--form", form, "--folder", "scenes"], tmp_path, env=no_locks)
    assert made.returncode == 0, made.stdout
    if form == "sen3":
        converted = start(["cloudmask", "convert", "scenes", "--target", "files"], tmp_path, env=no_locks)
        assert converted.returncode == 0, converted.stdout
        assert len(list((tmp_path / "files").glob("*.hdf"))) == 1


def test_samples_are_written_and_summarized_where_there_are_no_locks(tmp_path, no_locks):
    made = start([*SAMPLES, "--folder", "samples"], tmp_path, env=no_locks)
    assert made.returncode == 0, made.stdout
    (tmp_path / "samples" / "stats.h5").unlink()
    assert start(["tf_deepcam", "summarize", "samples"], tmp_path, env=no_locks).returncode == 0
    assert (tmp_path / "samples" / "stats.h5").is_file()


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


@pytest.mark.parametrize(
    "words",
    [
        [*SCENES, "--folder", "out"],
        [*SCENES, "--form", "small", "--folder", "out"],
        [*SAMPLES, "--folder", "out"],
        ["cloudmask", "inspect", "scenes", "data.image_h=72"],
    ],
    ids=["dataset", "small", "samples", "reading"],
)
def test_a_file_that_may_not_grow_is_one_line(tmp_path, words):
    write_scenes(tmp_path / "scenes", 1)
    before = sorted(tmp_path.rglob("*.hdf"))
    done = start(words, tmp_path, preexec_fn=limit)
    assert "Traceback" not in done.stdout
    assert "decrement" not in done.stdout
    if words[1] != "inspect":
        assert done.returncode == 1
        assert len(errors(done.stdout)) == 1
        assert "cannot be written" in errors(done.stdout)[0]
        assert "large" in errors(done.stdout)[0]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".hdf", ".h5", ".tmp")]
    assert sorted(written) == before
    assert os.listdir(tmp_path / "scenes") == ["S3A_000.hdf"]

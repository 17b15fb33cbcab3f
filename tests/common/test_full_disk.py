"""A disk that is full, a real one: one line with the path and the free bytes; what was complete stays."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.data.cache import DiskCache, FileCache
from common.data.files import list_files
from common.errors import UserError
from common.runs.mlperf import Log
from common.training import checkpoints
from tests.helpers import TINY, errors, run, write_scenes
from tests.tf_deepcam.samples import TINY as DEEPCAM
from tests.tf_deepcam.samples import write_samples
from tf_deepcam.tools import convert


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("file systems cannot be mounted here (needs root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, leave: int) -> None:
    """So that `leave` bytes are free."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(max(free - leave, 0)))


def test_a_checkpoint(small_disk):
    checkpoints.save(small_disk / "run", 1, {"a": np.zeros(1000)}, {}, 3)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device; 2400000 bytes were needed, \d+"):
        checkpoints.save(small_disk / "run", 2, {"a": np.random.rand(300000)}, {}, 3)
    assert checkpoints.load_newest(small_disk / "run", pytest.fail).step == 1
    assert [path.name for path in (small_disk / "run").iterdir()] == ["step-00000001"]


def test_the_disk_cache(small_disk, tmp_path):
    (tmp_path / "x1").touch()
    cache = FileCache(lambda path: (np.ones(300000),), disk=DiskCache(str(small_disk), ""))
    with pytest.raises(UserError, match=r"the disk cache cannot be written \(.*2400000 bytes were needed, \d+ bytes"):
        cache.get(list_files(str(tmp_path), "x1")[0])
    assert list((small_disk / f"samples-{os.getuid()}").iterdir()) == []


def test_the_mlperf_log_does_not_lose_a_line_silently(small_disk):
    log = Log(small_disk / "mlperf.log")
    fill(small_disk, 0)
    with pytest.raises(UserError, match=r"mlperf\.log: cannot be written \(No space left on device"):
        log.events({f"key {number}": 1 for number in range(200)})


def test_convert(small_disk, tmp_path):
    write_samples(tmp_path, 2, 1)
    fill(small_disk, 60000)
    with pytest.raises(UserError, match=r"cannot be written \(.*bytes were needed, \d+ bytes are free\)"):
        convert.main(str(tmp_path / "train"), str(small_disk / "npy"), "float32")
    assert [path for path in (small_disk / "npy").iterdir() if ".tmp" in path.name] == []


@pytest.mark.parametrize("leave", [0, 20000])
def test_a_training_s_run_folder(small_disk, tmp_path, leave):
    write_scenes(tmp_path / "scenes", 5)
    fill(small_disk, leave)
    settings = [*TINY, f"data.train_dir={tmp_path}/scenes", f"output.folder={small_disk}/runs", "training.epochs=1"]
    output = run("-m", "cloudmask", "train", *settings)
    assert output.returncode == 1
    (line,) = errors(output.stdout)
    assert "No space left on device" in line
    assert "bytes are free" in line
    assert "Traceback" not in output.stdout


def test_staging(small_disk, tmp_path):
    write_samples(tmp_path / "data", 4, 1)
    fill(small_disk, 100000)
    settings = [*DEEPCAM, f"data.data_dir_prefix={tmp_path}/data", f"data.stage_dir={small_disk}/stage"]
    output = run("-m", "tf_deepcam", "stage", *settings)
    assert output.returncode == 1
    (line,) = errors(output.stdout)
    assert "are to be staged" in line
    assert list((small_disk / "stage").iterdir()) == []

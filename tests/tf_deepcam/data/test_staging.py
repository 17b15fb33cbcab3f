"""Staged samples: the same values in half precision, made once, and nothing left or lost when it goes wrong."""

import os
import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.data.batches import Reading, evaluation_batches, training_batches
from common.errors import UserError
from common.report import log_files
from tests.helpers import errors, records, run, write_hdf
from tests.tf_deepcam.samples import HEIGHT, TINY, WIDTH, sample_arrays, write_samples
from tf_deepcam.config import DataSettings
from tf_deepcam.data import samples as data
from tf_deepcam.data import staging


def staged(root: Path, dtype: str = "float16", training: bool = False, **settings) -> tuple:
    settings = DataSettings(
        data_dir_prefix=str(root / "data"), stage_dir=str(root / "stage"), stage_dtype=dtype, **settings
    )
    samples = data.list_samples(settings, "train")
    form = data.sample_format(read := data.reader(samples, settings))
    if training:
        source = training_batches(samples, form, 2, seed=5, reading=Reading(settings), fixed_share=True)
    else:
        source = evaluation_batches(samples, form, 2, Reading(settings))
    return staging.Staging(settings, source.arrays[0].shape, read), source, samples


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 5e-4), ("float32", 0)])
@pytest.mark.parametrize("training", [True, False])
def test_staged_samples_are_the_files_samples_in_the_same_order(tmp_path, dtype, tolerance, training):
    write_samples(tmp_path / "data", 5, 1)
    place, source, samples = staged(tmp_path, dtype, training, channels=(0, 8, 3))
    assert place.stage(source.own_files(), 2) == 5
    batches = place.batches(source, seed=5)
    first, last = (source.steps_per_epoch, 2 * source.steps_per_epoch) if training else (0, None)
    count = 0
    for ours, theirs in zip(batches.dataset(first, last), source.dataset(first, last)):
        assert ours[0].dtype == dtype
        np.testing.assert_allclose(ours[0], theirs[0], atol=tolerance)
        np.testing.assert_array_equal(ours[1], theirs[1])
        count += len(ours[1])
    assert count == (4 if training else 5)
    assert place.stage(samples, 2) == 0  # all there already


def test_a_source_that_changed_is_staged_anew(tmp_path):
    write_samples(tmp_path / "data", 2, 1)
    place, _, samples = staged(tmp_path)
    place.stage(samples, 1)
    os.utime(samples[0].path, ns=(1, 1))
    _, _, samples = staged(tmp_path)
    assert place.stage(samples, 1) == 1


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_behind(tmp_path, monkeypatch):
    write_samples(tmp_path / "data", 3, 1)
    place, _, samples = staged(tmp_path)
    before = [Path(file.path).read_bytes() for file in samples]
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda folder: _Usage(100))
    with pytest.raises(UserError, match=r"GiB are to be staged, 0\.0 GiB are free: choose another data\.stage_dir"):
        place.stage(samples, 2)
    monkeypatch.undo()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))  # the kernel refuses in the middle, as on a full disk
    try:
        with pytest.raises(
            UserError,
            match=r"cannot be staged \(File too large; 50688 bytes were needed, \d+ bytes are free\)",
        ):
            place.stage(samples, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "stage").iterdir()) == []
    assert [Path(file.path).read_bytes() for file in samples] == before


class _Usage:
    def __init__(self, free: int):
        self.free = free


def truncate(path: str) -> None:
    os.truncate(f"{path}.data-00000-of-00001", 1000)


def change_a_byte(path: str) -> None:
    with open(f"{path}.data-00000-of-00001", "r+b") as file:
        file.seek(100)
        file.write(b"x")


def remove(path: str) -> None:
    os.unlink(f"{path}.index")


@pytest.mark.parametrize("damage", [truncate, change_a_byte, remove])
def test_a_damaged_staged_sample_is_named(tmp_path, damage):
    write_samples(tmp_path / "data", 5, 1)
    place, source, samples = staged(tmp_path)
    place.stage(samples, 1)
    path = place.staged_file(samples[3]).path
    damage(path)
    batches = place.batches(source, seed=5)
    with pytest.raises(tf.errors.OpError) as raised:
        list(batches.dataset())
    problem = batches.problem(raised.value)
    assert isinstance(problem, UserError)
    assert str(problem).startswith(f"{path}: cannot be read (")
    assert str(problem).endswith(f": delete {path}.*, stage it again")


@pytest.mark.slow
def test_two_ranks_train_on_what_they_staged(tmp_path):
    write_samples(tmp_path / "data", 6, 3)
    settings = [*TINY, f"data.data_dir_prefix={tmp_path}/data", f"output.folder={tmp_path}", "training.max_epochs=2"]
    settings += [f"data.stage_dir={tmp_path}/stage", "output.run_name=staged", "training.local_batch_size=1"]
    output = run("-m", "tf_deepcam", "train", *settings, ranks=2)
    assert output.returncode == 0, output.stdout
    made = list((tmp_path / "stage").glob("*.data-*"))
    assert len(made) == 9  # every sample once, by one of the two
    assert {path.stat().st_size for path in made} == {HEIGHT * WIDTH * (16 * 2 + 1)}
    log = (tmp_path / "staged" / "mlperf.log").read_text()
    assert log.index("staging_start") < log.index("staging_stop") < log.index("run_start")
    assert len(records(tmp_path / "staged", "epoch")) == 2


@pytest.mark.slow
def test_copies_are_shared_within_a_node_and_timed_where_the_rules_say_so(tmp_path):
    """Two ranks hold all samples together, so that each lies there once; MLPerf HPC v2.0 times the staging."""
    write_samples(tmp_path / "data", 6, 3)
    settings = [*TINY, f"data.data_dir_prefix={tmp_path}/data", f"output.folder={tmp_path}", "training.max_epochs=2"]
    settings += [f"data.stage_dir={tmp_path}/stage", "output.run_name=staged", "training.local_batch_size=1"]
    settings += ["data.stage_copies=2", "submission.ruleset=2.0.0", "training.max_validation_steps=1"]
    output = run("-m", "tf_deepcam", "train", *settings, ranks=2)
    assert output.returncode == 0, output.stdout
    assert len(list((tmp_path / "stage").glob("*.index"))) == 9
    (log,) = log_files.read(tmp_path / "staged" / "mlperf.log")
    keys = [event.key for event in log.events]
    assert (
        keys.index("run_start") < keys.index("staging_start") < keys.index("staging_stop") < keys.index("epoch_start")
    )
    assert (log.value("shuffle_mode"), log.value("stage_copies"), log.value("invalid_submission")) == (
        "global",
        2,
        True,
    )
    assert len(records(tmp_path / "staged", "epoch")) == 2


def test_copies_that_do_not_divide_the_ranks_are_refused(tmp_path):
    write_samples(tmp_path / "data", 2, 1)
    with pytest.raises(UserError, match="stage_copies 2 does not divide the 1 ranks"):
        staged(tmp_path, stage_copies=2)


@pytest.mark.slow
def test_the_command_stages_what_training_would(tmp_path):
    write_samples(tmp_path / "data", 3, 1)
    settings = [f"data.data_dir_prefix={tmp_path}/data", f"data.stage_dir={tmp_path}/stage"]
    for staged_now in (4, 0):
        output = run("-m", "tf_deepcam", "stage", *settings)
        assert output.returncode == 0, output.stdout
        assert f"{staged_now} files, " in output.stdout
    assert len(list((tmp_path / "stage").glob("*.index"))) == 4
    output = run("-m", "tf_deepcam", "stage", settings[0])
    assert errors(output.stdout) == ["error: data.stage_dir is not set: the node-local folder to stage to"]


def test_a_bad_sample_is_named_while_staging(tmp_path):
    write_samples(tmp_path / "data", 2, 1)
    bad = sample_arrays(1)
    bad["climate/labels_0"] += 1
    write_hdf(tmp_path / "data" / "train" / "data-2000-01-05-00-1.h5", bad)
    settings = [f"data.data_dir_prefix={tmp_path}/data", f"data.stage_dir={tmp_path}/stage"]
    output = run("-m", "tf_deepcam", "stage", *settings)
    assert output.returncode == 1
    assert "data-2000-01-05-00-1.h5: dataset 'climate/labels_0' holds 3" in errors(output.stdout)[0]


def test_what_a_killed_staging_has_left_is_removed_by_the_next(tmp_path):
    write_samples(tmp_path / "data", 2, 1)
    place, _, samples = staged(tmp_path)
    (tmp_path / "stage").mkdir()
    target = place.staged_file(samples[0]).path
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [f"{target}.{dead.pid}.tmp.index", f"{target}.{dead.pid}.tmp.data-00000-of-00001"]
    own = f"{target}.{os.getpid()}.tmp.index"  # of a process that is still at work
    for name in (*left, own):
        Path(name).write_bytes(b"half")
    place.stage(samples[1:], 1)
    assert [name for name in left if Path(name).exists()] == []
    assert Path(own).exists()

"""Which samples a rank sees, and when: every sample once, the same again for the same seed, nothing read twice."""

import os
import re
import threading

import numpy as np
import pytest
import tensorflow as tf

from common.data import npy
from common.data.batches import Batches, Reading, evaluation_batches, training_batches
from common.data.cache import CacheSettings, DiskCache, FileCache
from common.data.files import DataFile, list_files
from common.data.order import EvaluationOrder, TrainingOrder
from common.data.sources import ArraySpec, FileFormat, GraphSource
from common.errors import UserError


def make_files(tmp_path, count: int) -> list:
    for number in range(count):
        np.save(tmp_path / f"f{number}.npy", np.arange(number * 3, number * 3 + 3, dtype=np.float32))
    return list_files(str(tmp_path), "f*.npy")


def read(path: str, out: tuple) -> None:
    with npy.open_array(path) as array:
        array.read_rows(0, out[0])


FORM = FileFormat(read, (ArraySpec((), np.float32),), 3)


def batches(files: list, training: bool, size: int = 4, **cache) -> Batches:
    reading = Reading(CacheSettings(**cache))
    if training:
        return training_batches(files, FORM, size, seed=9, reading=reading)
    return evaluation_batches(files, FORM, size, reading)


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
def test_training_drops_what_does_not_fill_a_batch_and_repeats_exactly(tmp_path, cache):
    files = make_files(tmp_path, 5)
    settings = {"cache": cache, "cache_dir": str(tmp_path / "cache"), "shuffle_files": 2}
    stream = batches(files, True, **settings)
    assert stream.steps_per_epoch == 3  # 15 samples
    epochs = [np.concatenate([x.numpy() for (x,) in stream.dataset(first, first + 3)]) for first in (0, 3)]
    assert all(len(set(epoch.tolist())) == 12 for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    again = batches(files, True, **settings)
    later = np.concatenate([x.numpy() for (x,) in again.dataset(4, 6)])
    np.testing.assert_array_equal(later, epochs[1][4:])  # goes on in the middle of an epoch without what came before


def test_evaluation_sees_every_sample_in_order_and_ends_with_a_smaller_batch(tmp_path):
    seen = [x.numpy().tolist() for (x,) in batches(make_files(tmp_path, 5), False).dataset()]
    assert [len(batch) for batch in seen] == [4, 4, 4, 3]
    assert [sample for batch in seen for sample in batch] == list(range(15))


def test_too_few_samples_for_a_batch_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"15 training samples \(5 files\) do not fill one global batch of 16"):
        batches(make_files(tmp_path, 5), True, size=16)


def test_a_file_is_read_once_while_it_is_cached(tmp_path):
    files, reads = make_files(tmp_path, 4), []
    cache = FileCache(lambda path: reads.append(path) or (np.load(path),), keep=2)
    for number in (0, 1, 0, 1, 2, 2, 0):
        cache.get(files[number])
    assert [path[-5] for path in reads] == ["0", "1", "2", "0"]


def test_the_disk_cache_serves_a_later_run_without_reading_the_files(tmp_path):
    files = make_files(tmp_path, 2)
    FileCache(lambda path: (np.load(path),), disk=DiskCache(str(tmp_path), "recipe")).get(files[1])
    again = FileCache(lambda path: pytest.fail("read again"), disk=DiskCache(str(tmp_path), "recipe"))
    np.testing.assert_array_equal(again.get(files[1])[0], [3, 4, 5])


def test_the_disk_cache_knows_other_settings_and_makes_torn_entries_anew(tmp_path):
    files, reads = make_files(tmp_path, 1), []

    def decode(path: str) -> tuple:
        reads.append(path)
        return (np.load(path),)

    for recipe in ("one", "another"):
        FileCache(decode, disk=DiskCache(str(tmp_path), recipe)).get(files[0])
    assert len(reads) == 2
    for entry in DiskCache(str(tmp_path), "").folder.glob("*/00.npy"):
        entry.write_bytes(entry.read_bytes()[:-3])
    (values,) = FileCache(decode, disk=DiskCache(str(tmp_path), "one")).get(files[0])
    np.testing.assert_array_equal(values, [0, 1, 2])
    assert len(reads) == 3


def test_a_disk_cache_that_others_can_enter_is_not_trusted(tmp_path):
    planted = tmp_path / "elsewhere"
    planted.mkdir()
    (tmp_path / f"samples-{os.getuid()}").symlink_to(planted)
    with pytest.raises(UserError, match="is not a folder that only this user can enter"):
        DiskCache(str(tmp_path), "")
    (tmp_path / f"samples-{os.getuid()}").unlink()
    (tmp_path / f"samples-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(UserError, match="is not a folder that only this user can enter"):
        DiskCache(str(tmp_path), "")
    assert list(planted.iterdir()) == []


def test_a_file_that_changed_or_vanished_is_named(tmp_path):
    stream = batches(make_files(tmp_path, 2), False)
    os.truncate(tmp_path / "f0.npy", 100)
    with pytest.raises(UserError, match=r"f0\.npy: changed during the run \(140 bytes at the start, 100 now\)"):
        stream.load(0)
    (tmp_path / "f0.npy").unlink()
    with pytest.raises(UserError, match=r"f0\.npy: vanished during the run"):
        stream.load(0)


def test_what_went_wrong_in_a_reader_thread_is_kept_for_the_training_loop(tmp_path):
    stream = batches(make_files(tmp_path, 2), False)
    (tmp_path / "f1.npy").unlink()
    with pytest.raises(tf.errors.OpError) as raised:
        list(stream.dataset())
    problem = stream.problem(raised.value)
    assert isinstance(problem, UserError)
    assert "f1.npy: vanished during the run" in str(problem)


def test_missing_folders_and_empty_ones_are_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        list_files(str(tmp_path / "none"), "*")
    with pytest.raises(UserError, match=r"no file matches 'S3A\*\.hdf'"):
        list_files(str(tmp_path), "S3A*.hdf")


def test_files_are_found_at_any_depth_and_sorted_by_name(tmp_path):
    for name in ("b/x2", "a/x3", "x1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_files(str(tmp_path), "x*")
    assert [file.name for file in found] == ["x1", "x2", "x3"]
    assert all(isinstance(file, DataFile) for file in found)


def test_what_is_all_in_memory_is_mixed_over_all_files(tmp_path):
    files = make_files(tmp_path, 8)
    for cache, mixed in (("memory", True), ("none", False)):
        (values,) = batches(files, True, size=6, cache=cache, shuffle_files=2).load(0)
        assert (len(set((values // 3).tolist())) > 2) is mixed


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("training", [True, False])
def test_files_of_one_sample_come_the_same_straight_from_a_cache_and_through_the_graph(tmp_path, size, training):
    for number in range(9):
        np.full(2, number, np.float32).tofile(tmp_path / f"f{number}")
    files = list_files(str(tmp_path), "f?")

    def read(path, out):
        out[0][0] = np.fromfile(path, np.float32)

    def in_graph(path):
        return (tf.io.decode_raw(tf.io.read_file(path), tf.float32),)

    arrays = (ArraySpec((2,), np.float32),)
    form, streams = FileFormat(read, arrays), []
    for cache in ("none", "memory"):
        reading = Reading(CacheSettings(cache=cache))
        if training:
            streams.append(training_batches(files, form, size, seed=9, reading=reading, fixed_share=True))
        else:
            streams.append(evaluation_batches(files, form, size, reading))
    order = TrainingOrder(9, 1, 9, 0, 1, 1, fixed_share=True) if training else EvaluationOrder(9, 1, 0, 1)
    streams.append(Batches(files, GraphSource(files, arrays, in_graph, "make it again"), order, size, training))
    found = [np.concatenate([x.numpy() for (x,) in stream.dataset()]) for stream in streams]
    assert sorted(found[0][:, 0].tolist()) == sorted(set(found[0][:, 0].tolist()))
    assert len(found[0]) == (8 if training and size == 4 else 9)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_file_that_the_graph_cannot_read_is_named(tmp_path):
    (tmp_path / "f1").touch()
    files = list_files(str(tmp_path), "f?")
    (tmp_path / "f1").unlink()
    source = GraphSource(
        files,
        (ArraySpec((2,), np.float32),),
        lambda path: (tf.io.decode_raw(tf.io.read_file(path), tf.float32),),
        "make it again",
    )
    stream = Batches(files, source, EvaluationOrder(1, 1, 0, 1), 1, training=False)
    with pytest.raises(tf.errors.OpError) as raised:
        list(stream.dataset())
    problem = stream.problem(raised.value)
    assert isinstance(problem, UserError)
    assert re.search(r"f1: cannot be read \(.*No such file.*\): make it again", str(problem))


def test_as_many_batches_are_read_at_once_as_were_asked_for(tmp_path):
    together = threading.Barrier(4, timeout=20)

    def read(path: str, out: tuple) -> None:
        together.wait()
        with npy.open_array(path) as array:
            array.read_rows(0, out[0][0])

    form = FileFormat(read, (ArraySpec((3,), np.float32),))
    reading = Reading(threads=4)
    stream = evaluation_batches(make_files(tmp_path, 8), form, 1, reading)
    assert len(list(stream.dataset(parallel=4))) == 8


@pytest.mark.parametrize(
    ("shape", "parallel", "expected"),
    [((3,), 12, (12, 2)), ((768, 1152, 16), 12, (1, 1)), ((768, 1152, 4), 12, (7, 2)), ((768, 1152, 16), 1, (1, 1))],
)
def test_large_batches_are_read_ahead_within_a_bound(tmp_path, shape, parallel, expected):
    form = FileFormat(lambda path, out: None, (ArraySpec(shape, np.float32),))
    stream = evaluation_batches(make_files(tmp_path, 64), form, 32, Reading())
    assert stream.read_ahead(parallel) == expected


def test_no_tuner_s_thread_is_waited_for_at_the_end(tmp_path):
    """It may sleep for a minute, in which run_stop would be late."""
    form = FileFormat(lambda path, out: None, (ArraySpec((1,), np.float32),))
    dataset = evaluation_batches(make_files(tmp_path, 2), form, 1, Reading()).dataset()
    assert dataset.options().autotune.enabled is False

"""Which samples a rank sees, and when: every sample once, the same again for the same seed, nothing read twice."""

import os

import numpy as np
import pytest
import tensorflow as tf

from common.data.batches import (
    Batches,
    CacheSettings,
    DataFile,
    FileCache,
    evaluation_order,
    list_files,
    share,
    training_order,
)
from common.errors import UserError

ORDER = {"seed": 5, "epoch": 1, "fixed_share": False, "window": 3}


def all_ranks(files: int, per_file: int, size: int, **settings) -> list:
    parts = [training_order(files, per_file, rank=rank, size=size, **{**ORDER, **settings}) for rank in range(size)]
    return [tuple(sample) for part in parts for sample in part.tolist()]


@pytest.mark.parametrize(("files", "per_file", "size"), [(7, 6, 1), (7, 6, 2), (5, 20, 3), (11, 1, 4)])
def test_all_ranks_together_see_every_sample_once(files, per_file, size):
    every = sorted((file, sample) for file in range(files) for sample in range(per_file))
    assert sorted(all_ranks(files, per_file, size)) == every
    held_out = [evaluation_order(files, per_file, rank, size) for rank in range(size)]
    assert [tuple(sample) for part in held_out for sample in part.tolist()] == every


def test_shares_differ_by_at_most_one():
    sizes = [last - first for first, last in (share(14, rank, 4) for rank in range(4))]
    assert sorted(sizes) == [3, 3, 4, 4]


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else():
    assert all_ranks(7, 6, 2) == all_ranks(7, 6, 2)
    assert all_ranks(7, 6, 2) != all_ranks(7, 6, 2, epoch=2)
    assert all_ranks(7, 6, 2) != all_ranks(7, 6, 2, seed=6)


def test_a_fixed_share_keeps_its_samples_and_mixes_them_anew():
    first, second = (
        training_order(7, 6, rank=0, size=2, **{**ORDER, "epoch": epoch, "fixed_share": True}).tolist()
        for epoch in (0, 1)
    )
    assert first != second
    assert sorted(first) == sorted(second)


def test_only_a_window_of_files_is_needed_at_a_time():
    order = training_order(12, 6, rank=0, size=1, **ORDER)
    for start in range(0, len(order), 18):
        assert len(set(order[start : start + 18, 0].tolist())) == 3
    alone = training_order(50, 1, rank=0, size=1, **ORDER)[:, 0]
    assert len(set(alone[:25].tolist()) & set(range(25))) not in (0, 25)  # files with one sample mix over the whole


def make_files(tmp_path, count: int) -> list:
    for number in range(count):
        np.save(tmp_path / f"f{number}.npy", np.arange(number * 3, number * 3 + 3, dtype=np.float32))
    return list_files(str(tmp_path), "f*.npy")


def read(path: str, out: tuple) -> None:
    out[0][:] = np.load(path)


def batches(files: list, training: bool, size: int = 4, **cache) -> Batches:
    return Batches(files, read, [((), np.float32)], 3, size, training, 9, CacheSettings(**cache))


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
    folder = tmp_path / "cache"
    FileCache(lambda path: (np.load(path),), None, folder).get(files[1])
    (values,) = FileCache(lambda path: pytest.fail("read again"), None, folder).get(files[1])
    np.testing.assert_array_equal(values, [3, 4, 5])


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
    with pytest.raises(Exception, match="vanished"):
        list(stream.dataset())
    assert isinstance(stream.failure, UserError)


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

    found = []
    for cache, graph in (("none", None), ("memory", None), ("none", in_graph)):
        settings = CacheSettings(cache=cache)
        stream = Batches(files, read, [((2,), np.float32)], 1, size, training, 9, settings, 2, graph, fixed_share=True)
        found.append(np.concatenate([x.numpy() for (x,) in stream.dataset()]))
    assert sorted(found[0][:, 0].tolist()) == sorted(set(found[0][:, 0].tolist()))
    assert len(found[0]) == (8 if training and size == 4 else 9)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_file_that_the_graph_cannot_read_is_named(tmp_path):
    (tmp_path / "f1").touch()
    files = list_files(str(tmp_path), "f?")
    (tmp_path / "f1").unlink()
    stream = Batches(
        files,
        None,
        [((2,), np.float32)],
        1,
        1,
        False,
        read_in_graph=lambda path: (tf.io.decode_raw(tf.io.read_file(path), tf.float32),),
    )
    with pytest.raises(tf.errors.OpError) as raised:
        list(stream.dataset())
    assert isinstance(stream.problem(raised.value), UserError)
    assert "f1; No such file" in str(stream.problem(raised.value))

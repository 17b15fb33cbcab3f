"""Pooled memory is handed out again only when nobody can see it any more."""

import gc

import numpy as np

from common.data.buffers import BufferPool


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_freed_memory_is_used_again():
    pool = BufferPool()
    first = pool.empty((100, 7), np.float32)
    place = address(first)
    del first
    gc.collect()
    assert address(pool.empty((700,), np.float32)) == place


def test_a_view_keeps_the_memory():
    pool = BufferPool()
    array = pool.empty((100, 7), np.float32)
    array[:] = 3
    view = array[5:9].T[2:]
    del array
    gc.collect()
    other = pool.empty((100, 7), np.float32)
    other[:] = 4
    np.testing.assert_array_equal(view, 3)


def test_no_more_is_kept_than_allowed():
    pool = BufferPool(keep_bytes=1000)
    arrays = [pool.empty((600,), np.uint8) for _ in range(2)]
    del arrays
    gc.collect()
    assert pool._kept_bytes == 600


def test_arrays_start_where_tensorflow_can_use_them_in_place():
    assert address(BufferPool().empty((3, 5), np.float64)) % 64 == 0


def test_an_empty_array():
    assert BufferPool().empty((0, 4), np.float32).shape == (0, 4)

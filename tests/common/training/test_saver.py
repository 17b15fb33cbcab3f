"""Checkpoints written beside the training."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from common.errors import UserError
from common.training import checkpoints
from common.training.saver import Saver


@pytest.fixture
def slow(monkeypatch):
    """Writing waits for this event; what was written is in its `steps`."""
    may_write, real = threading.Event(), checkpoints.save
    may_write.steps = []

    def save(folder, step, *rest):
        assert may_write.wait(20)
        may_write.steps.append(step)
        return real(folder, step, *rest)

    monkeypatch.setattr(checkpoints, "save", save)
    return may_write


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, slow):
    with Saver(tmp_path, keep=2) as saver:
        saver.save(1, lambda: {"a": np.ones(3)}, {}, None)
        assert slow.steps == []  # and yet we are here
        slow.set()
    assert slow.steps == checkpoints.list_steps(tmp_path) == [1]


def test_the_next_one_waits_for_the_one_before(tmp_path, slow):
    with Saver(tmp_path, keep=1) as saver:
        saver.save(1, lambda: {"a": np.ones(3)}, {}, 1)
        threading.Timer(0.2, slow.set).start()
        assert saver.save(2, lambda: {"a": np.ones(3)}, {}, 1) > 0.1
        assert slow.steps[0] == 1
    assert saver.seconds_lost > 0.1
    assert checkpoints.list_steps(tmp_path) == [1, 2]  # the best is kept


def test_what_is_written_is_what_was_at_the_time(tmp_path, slow):
    variable = tf.Variable(np.zeros(1000, np.float32))
    with Saver(tmp_path, keep=1) as saver:
        saver.save(1, lambda: {"a": np.array(variable.numpy())}, {}, None)
        variable.assign_add(tf.ones(1000))
        slow.set()
    assert not checkpoints.load(tmp_path, 1).arrays["a"].any()


def test_a_write_that_failed_is_told_by_the_next_and_at_the_end(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="checkpoint cannot be written"),
        Saver(tmp_path / "file" / "x", keep=1) as saver,
    ):
        saver.save(1, lambda: {"a": np.ones(3)}, {}, None)
    with Saver(tmp_path / "file" / "x", keep=1) as saver:
        saver.save(1, lambda: {"a": np.ones(3)}, {}, None)
        with pytest.raises(UserError, match="checkpoint cannot be written"):
            saver.save(2, lambda: {"a": np.ones(3)}, {}, None)


def test_another_error_is_not_hidden_and_the_write_is_finished(tmp_path, slow):
    threading.Timer(0.2, slow.set).start()
    with pytest.raises(KeyError), Saver(tmp_path, keep=1) as saver:
        raise KeyError(saver.save(1, lambda: {"a": np.ones(3)}, {}, None))
    assert checkpoints.list_steps(tmp_path) == [1]

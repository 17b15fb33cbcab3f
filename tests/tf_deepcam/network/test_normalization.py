"""Batch statistics are those of a group of ranks, in the forward and in the backward pass."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import errors, run

PROGRAM = Path(__file__).with_name("batchnorm.py")


def result(folder: Path, ranks: int, group: int) -> dict:
    output = run(PROGRAM, group, folder / "out.npz", ranks=ranks)
    assert output.returncode == 0, output.stdout
    return dict(np.load(folder / "out.npz"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    """One rank with all eight samples."""
    return result(tmp_path_factory.mktemp("alone"), 1, 1)


def test_a_group_of_all_ranks_is_one_rank_with_the_whole_batch(alone, tmp_path):
    two = result(tmp_path, 2, 2)
    np.testing.assert_allclose(two["result"], alone["result"], atol=1e-5)
    np.testing.assert_allclose(two["gradient"], alone["gradient"], atol=1e-4)
    np.testing.assert_allclose(two["means"], np.repeat(alone["means"], 2, 0), atol=1e-6)


@pytest.mark.slow
def test_groups_of_two_of_four_ranks_keep_to_themselves(alone, tmp_path):
    four = result(tmp_path, 4, 2)
    values = np.random.default_rng(3).normal(2.0, 3.0, (8, 4, 5, 3)).astype(np.float32)
    values[4:] += 5.0
    for place in (np.s_[:4], np.s_[4:]):
        half = values[place]
        expected = (half - half.mean((0, 1, 2))) / np.sqrt(half.var((0, 1, 2)) + 1e-5)
        np.testing.assert_allclose(four["result"][place], expected, atol=1e-4)
    assert np.abs(four["result"] - alone["result"]).max() > 0.1
    assert np.allclose(four["means"][0], four["means"][1])
    assert not np.allclose(four["means"][1], four["means"][2])


def test_a_group_size_that_does_not_divide_the_ranks_is_refused(tmp_path):
    output = run(PROGRAM, 3, tmp_path / "out.npz", ranks=2)
    assert output.returncode != 0
    assert "batchnorm_group_size 3 does not divide the 2 ranks" in errors(output.stdout)[0]

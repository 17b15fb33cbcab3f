"""Which samples a rank sees, and when: every sample once, the same again for the same seed, and known answers."""

import numpy as np
import pytest

from common.data.order import EvaluationOrder, TrainingOrder, as_begun, share


def order(
    files: int, per_file: int, rank: int, size: int, *, seed: int = 5, fixed_share: bool = False
) -> TrainingOrder:
    return TrainingOrder(files, per_file, seed, rank, size, window=3, fixed_share=fixed_share)


def all_ranks(files: int, per_file: int, size: int, *, seed: int = 5, epoch: int = 1) -> list:
    parts = [order(files, per_file, rank, size, seed=seed).epoch(epoch) for rank in range(size)]
    return [tuple(sample) for part in parts for sample in part.tolist()]


@pytest.mark.parametrize(("files", "per_file", "size"), [(7, 6, 1), (7, 6, 2), (5, 20, 3), (11, 1, 4)])
def test_all_ranks_together_see_every_sample_once(files, per_file, size):
    every = sorted((file, sample) for file in range(files) for sample in range(per_file))
    assert sorted(all_ranks(files, per_file, size)) == every
    held_out = [EvaluationOrder(files, per_file, rank, size).epoch(0) for rank in range(size)]
    assert [tuple(sample) for part in held_out for sample in part.tolist()] == every


def test_shares_differ_by_at_most_one():
    sizes = [last - first for first, last in (share(14, rank, 4) for rank in range(4))]
    assert sorted(sizes) == [3, 3, 4, 4]


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else():
    assert all_ranks(7, 6, 2) == all_ranks(7, 6, 2)
    assert all_ranks(7, 6, 2) != all_ranks(7, 6, 2, epoch=2)
    assert all_ranks(7, 6, 2) != all_ranks(7, 6, 2, seed=6)


def test_a_fixed_share_keeps_its_samples_and_mixes_them_anew():
    fixed = order(7, 6, 0, 2, fixed_share=True)
    first, second = fixed.epoch(0).tolist(), fixed.epoch(1).tolist()
    assert first != second
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize(("files", "per_file", "size", "copies"), [(11, 1, 6, 3), (7, 6, 4, 2), (12, 1, 4, 4)])
def test_copies_of_a_share_are_dealt_out_anew_among_those_that_hold_them(files, per_file, size, copies):
    every = sorted((file, sample) for file in range(files) for sample in range(per_file))
    orders = [TrainingOrder(files, per_file, 5, rank, size, 3, fixed_share=True, copies=copies) for rank in range(size)]
    epochs = [[[tuple(s) for s in made.epoch(number).tolist()] for made in orders] for number in range(3)]
    for epoch in epochs:
        assert sorted(sample for part in epoch for sample in part) == every
        assert min(map(len, epoch)) >= files * per_file // size
    for rank, made in enumerate(orders):
        held = {tuple(sample) for sample in made.held().tolist()}
        assert held == {tuple(sample) for sample in orders[rank - rank % copies].held().tolist()}
        assert all(set(epoch[rank]) <= held for epoch in epochs)
        assert len({frozenset(epoch[rank]) for epoch in epochs}) > 1
    assert (len(held) == len(every)) == (copies == size)


def test_only_a_window_of_files_is_needed_at_a_time():
    samples = order(12, 6, 0, 1).epoch(1)
    for start in range(0, len(samples), 18):
        assert len(set(samples[start : start + 18, 0].tolist())) == 3
    alone = order(50, 1, 0, 1).epoch(1)[:, 0]
    assert len(set(alone[:25].tolist()) & set(range(25))) not in (0, 25)  # files with one sample mix over the whole


def test_shares_and_evaluation_by_hand():
    assert [share(7, rank, 3) for rank in range(3)] == [(0, 2), (2, 4), (4, 7)]
    assert EvaluationOrder(2, 3, rank=0, size=2).epoch(5).tolist() == [[0, 0], [0, 1], [0, 2]]
    assert EvaluationOrder(2, 3, rank=1, size=2).epoch(0).tolist() == [[1, 0], [1, 1], [1, 2]]
    assert (EvaluationOrder(2, 3, 0, 2).samples, TrainingOrder(5, 4, 1, 0, 2, 3).samples) == (6, 20)


def test_the_training_order_of_a_seed_never_changes():
    """Runs of an older version go on with the same samples; the figures were printed by this code in November 2026."""
    first = TrainingOrder(3, 2, seed=7, rank=0, size=2, window=2)
    assert first.epoch(0).tolist() == [[2, 0], [0, 1], [0, 0]]
    assert first.epoch(1).tolist() == [[2, 1], [1, 0], [2, 0]]
    fixed = TrainingOrder(3, 2, seed=7, rank=1, size=2, window=2, fixed_share=True)
    assert fixed.epoch(3).tolist() == [[2, 1], [1, 1], [1, 0]]
    assert TrainingOrder(4, 1, seed=7, rank=0, size=1, window=1).epoch(2).tolist() == [[3, 0], [0, 0], [2, 0], [1, 0]]


def test_the_files_of_a_share():
    fixed = TrainingOrder(9, 2, seed=3, rank=0, size=3, window=2, fixed_share=True)
    assert sorted({file for file, _ in fixed.epoch(0).tolist()}) == [0, 2, 7]
    dealt = TrainingOrder(9, 2, seed=3, rank=0, size=3, window=2)
    assert sorted({file for file, _ in dealt.epoch(0).tolist()}) == [1, 2, 5]
    assert dealt == TrainingOrder(9, 2, 3, 0, 3, 2, False)
    single = TrainingOrder(9, 1, seed=3, rank=0, size=1, window=2)
    assert single.epoch(0)[:, 0].tolist() == [7, 1, 4, 3, 6, 0, 8, 5, 2]
    with pytest.raises(AttributeError):
        fixed.seed = 4
    with pytest.raises(AttributeError):
        EvaluationOrder(2, 3, 0, 2).rank = 1


def test_ranks_of_more_than_there_are_samples_hold_nothing():
    assert TrainingOrder(1, 2, 1, rank=0, size=5, window=2).epoch(0).tolist() == []


@pytest.mark.parametrize("copies", [0, 1, 3])  # 0: dealt out anew in every epoch
@pytest.mark.parametrize(("files", "per_file"), [(29, 1), (7, 6)])
@pytest.mark.parametrize("size", [1, 2, 4, 6, 12])
def test_a_run_that_goes_on_on_other_ranks_sees_the_global_batches_that_it_would_have_seen(
    files, per_file, size, copies
):
    """Begun on 3 ranks with 4 samples each."""

    def made(rank: int, size: int, copies: int) -> TrainingOrder:
        return TrainingOrder(files, per_file, 5, rank, size, 3, fixed_share=copies > 0, copies=max(copies, 1))

    def global_batches(orders: list, own: int, epoch: int) -> list:
        updates = files * per_file // 12
        parts = [order.epoch(epoch)[: updates * own].reshape(updates, own, 2) for order in orders]
        return np.concatenate(parts, 1).tolist()

    begun = [made(rank, 3, copies) for rank in range(3)]
    now = [as_begun(made(rank, size, copies), 3, 12 // size).order for rank in range(size)]
    for epoch in (0, 1, 5):
        assert global_batches(now, 12 // size, epoch) == global_batches(begun, 4, epoch)
    for order in now:
        held = set(map(tuple, order.held().tolist()))
        assert {tuple(sample) for epoch in range(6) for sample in order.epoch(epoch).tolist()} <= held
        assert order.samples == files * per_file


def test_a_run_on_the_ranks_that_it_began_on_has_its_own_order():
    own = order(7, 6, 1, 3)
    assert as_begun(own, 3, 4) == as_begun(own, 0, 4) == (own, 1)
    assert as_begun(order(7, 6, 1, 2), 3, 6).orders == 2  # ranks 1 and 2 of the three, one of them in half

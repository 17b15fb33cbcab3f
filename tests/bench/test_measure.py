"""Intervals and verdicts of the bench, on figures whose answer is known."""

import json

import numpy as np
import pytest

from tests.bench.measure import Ratio, in_turn, ratio_of_medians, row, spread


def test_without_noise_the_interval_is_a_point():
    assert ratio_of_medians(np.full(5, 3.0), np.full(5, 4.0)) == Ratio(0.75, 0.75, 0.75)


def test_what_slows_both_at_once_does_not_widen_the_interval():
    slow = np.array([1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 4.0])
    assert ratio_of_medians(0.9 * slow, slow) == pytest.approx((0.9, 0.9, 0.9))


def test_an_interval_holds_its_ratio_and_lies_within_the_extremes():
    rng = np.random.default_rng(1)
    upper, lower = rng.uniform(0.9, 1.1, 9), rng.uniform(1.9, 2.1, 9)
    found = ratio_of_medians(upper, lower)
    assert found.value == np.median(upper) / np.median(lower)
    assert upper.min() / lower.max() < found.low < found.value < found.high < upper.max() / lower.min()
    assert found == ratio_of_medians(upper, lower)


def test_about_95_of_100_intervals_hold_the_true_ratio():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        upper, lower = rng.normal(1.0, 0.05, (2, 9))
        found = ratio_of_medians(upper, lower)
        held += found.low <= 1.0 <= found.high
    assert held >= 88


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Ratio(0.91, 0.80, 1.00), "met"),
        (Ratio(0.90, 0.80, 1.00), "met"),
        (Ratio(0.88, 0.80, 0.91), "open"),
        (Ratio(0.88, 0.80, 0.90), "open"),
        (Ratio(0.88, 0.80, 0.89), "missed"),
    ],
)
def test_a_target_is_missed_only_if_the_whole_interval_lies_below_it(ratio, verdict):
    assert ratio.verdict(0.90) == verdict


def test_spread_is_the_middle_half_by_the_median():
    assert spread(np.array([1.0, 2.0, 3.0, 4.0, 100.0])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("higher", "ratio"), [(True, 0.5), (False, 2.0)])
def test_a_row_says_how_near_the_limit_we_are(capsys, higher, ratio):
    row("name", np.array([2.0, 1.0, 3.0]), np.array([4.0, 2.0, 6.0]), "s", 1.0, "a limit", higher)
    found = json.loads(capsys.readouterr().out)
    assert (found["ours"], found["limit"], found["ratio"], found["repeats"]) == (2.0, 4.0, ratio, 3)
    assert found["interval"] == [ratio, ratio]
    assert found["verdict"] == ("met" if higher is False else "missed")


def test_two_pieces_of_work_take_turns_and_keep_their_places():
    calls = []
    first, second = in_turn(lambda: calls.append("a"), lambda: calls.append("b"), 3)
    assert "".join(calls) == "ab" + "abbaab"
    assert first.shape == second.shape == (3,)

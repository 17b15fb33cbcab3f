"""Scores against scikit-learn, and that sums are all that matters."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from cloudmask.scores import BinaryCounts


@pytest.fixture(scope="module")
def example() -> tuple:
    rng = np.random.default_rng(3)
    truth = rng.random((40, 70)) < 0.3
    probability = np.clip(rng.normal(0.35 + 0.3 * truth, 0.2), 0.01, 0.99).astype(np.float32)
    return probability, truth, (rng.random((40, 70)) < 0.8).astype(np.uint8)


def test_scores_are_scikit_learn_s(example):
    probability, truth, weight = example
    scores = BinaryCounts.of(probability, truth, weight, 0.5).scores()
    seen = weight > 0
    y, p = truth[seen], probability[seen].astype(np.float64)
    assert scores["pixel_accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(y, p > 0.5))
    assert scores["f1"] == pytest.approx(sklearn_metrics.f1_score(y, p > 0.5))
    assert scores["precision"] == pytest.approx(sklearn_metrics.precision_score(y, p > 0.5))
    assert scores["recall"] == pytest.approx(sklearn_metrics.recall_score(y, p > 0.5))
    assert scores["iou"] == pytest.approx(sklearn_metrics.jaccard_score(y, p > 0.5))
    assert scores["log_loss"] == pytest.approx(sklearn_metrics.log_loss(y, p))


@pytest.mark.parametrize("always", [True, False])
def test_a_mask_that_says_the_same_everywhere_has_no_skill(example, always):
    _, truth, weight = example
    counts = BinaryCounts.of_certain(np.full(truth.shape, always), truth, weight > 0)
    assert counts.scores()["kuiper_skill"] == 0
    assert BinaryCounts.of_certain(truth, truth, weight > 0).scores()["kuiper_skill"] == 1
    assert np.isnan(BinaryCounts.of_certain(truth, truth & False, weight > 0).scores()["kuiper_skill"])


def test_halves_add_up_to_the_whole(example):
    whole = BinaryCounts.of(*example, 0.5)
    left, right = (BinaryCounts.of(*(x[:, part] for x in example), 0.5) for part in (np.s_[:13], np.s_[13:]))
    np.testing.assert_allclose((left + right).as_array(), whole.as_array(), rtol=1e-12)


def test_pixels_without_weight_may_be_nan():
    counts = BinaryCounts.of(np.array([0.9, np.nan]), np.array([1, 1]), np.array([1, 0]), 0.5)
    assert (counts.pixels, counts.scores()["pixel_accuracy"]) == (1.0, 1.0)
    assert counts.log_loss_sum == pytest.approx(-np.log(0.9))


def test_a_network_that_gives_nan_is_seen_in_the_log_loss():
    counts = BinaryCounts.of(np.array([0.9, np.nan]), np.array([1, 1]), np.array([1, 1]), 0.5)
    assert np.isnan(counts.log_loss_sum)


def test_nothing_counted_is_nan_not_an_error():
    assert np.isnan(BinaryCounts().scores()["f1"])
    assert np.isnan(BinaryCounts().scores()["pixel_accuracy"])


def test_one_sure_mistake_is_finite():
    counts = BinaryCounts.of(np.array([0.0]), np.array([1]), np.array([1]), 0.5)
    assert counts.log_loss_sum == pytest.approx(-np.log(1e-7))


def test_by_hand():
    """Positive is above the threshold, not at it; weights count pixels."""
    probability = np.array([0.9, 0.5, 0.2, 0.7, 0.1, 0.8])
    truth = np.array([1, 1, 1, 0, 0, 0])
    weight = np.array([2, 1, 3, 1, 5, 0])
    counts = BinaryCounts.of(probability, truth, weight, 0.5)
    cells = (counts.true_positive, counts.false_positive, counts.false_negative, counts.true_negative)
    assert cells == (2, 1, 4, 5)
    expected = 2 * np.log(0.9) + np.log(0.5) + 3 * np.log(0.2) + np.log(0.3) + 5 * np.log(0.9)
    assert counts.log_loss_sum == pytest.approx(-expected)
    assert counts.pixels == 12
    scores = counts.scores()
    assert scores["pixel_accuracy"] == 7 / 12
    assert scores["precision"] == 2 / 3
    assert scores["recall"] == 2 / 6
    assert scores["f1"] == 4 / 9
    assert scores["iou"] == 2 / 7
    assert scores["kuiper_skill"] == pytest.approx(2 / 6 - 1 / 6)
    assert scores["log_loss"] == pytest.approx(-expected / 12)
    assert BinaryCounts.from_array(counts.as_array()) == counts


def test_counts_begin_at_nothing_and_cannot_be_changed():
    assert BinaryCounts().as_array().tolist() == [0, 0, 0, 0, 0]
    with pytest.raises(AttributeError):
        BinaryCounts().true_positive = 1.0

"""Scores against scikit-learn, and that sums are all that matters."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from cloudmask.scores import BinaryCounts
from tests.helpers import GOLDEN
from tf_deepcam.scores import intersection_over_union


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


def test_halves_add_up_to_the_whole(example):
    whole = BinaryCounts.of(*example, 0.5)
    left, right = (BinaryCounts.of(*(x[:, part] for x in example), 0.5) for part in (np.s_[:13], np.s_[13:]))
    np.testing.assert_allclose((left + right).as_array(), whole.as_array(), rtol=1e-12)


def test_pixels_without_weight_may_be_nan():
    counts = BinaryCounts.of(np.array([0.9, np.nan]), np.array([1, 1]), np.array([1, 0]), 0.5)
    assert (counts.pixels, counts.scores()["pixel_accuracy"]) == (1.0, 1.0)


def test_nothing_counted_is_nan_not_an_error():
    assert np.isnan(BinaryCounts().scores()["f1"])
    assert np.isnan(BinaryCounts().scores()["pixel_accuracy"])


def test_one_sure_mistake_is_finite():
    counts = BinaryCounts.of(np.array([0.0]), np.array([1]), np.array([1]), 0.5)
    assert counts.log_loss_sum == pytest.approx(-np.log(1e-7))


def test_intersection_over_union_is_the_reference_s():
    golden = np.load(GOLDEN / "deepcam_seed2018.npz")
    scores = intersection_over_union(golden["metric_pred"], golden["metric_labels"], 3)
    np.testing.assert_allclose(scores, golden["metric_iou"].ravel(), atol=1e-6)
    assert np.mean(scores) == pytest.approx(float(golden["metric_iou_batch"]), abs=1e-6)


def test_intersection_over_union_by_hand():
    truth = np.array([[[0, 0, 1], [1, 1, 1]], [[0, 0, 0], [0, 0, 0]]])
    predicted = np.array([[[0, 1, 1], [1, 1, 2]], [[0, 0, 0], [0, 0, 0]]])
    # first sample: 1 of 2, 3 of 5, 0 of 1; second: classes 1 and 2 are in neither and count as 1
    np.testing.assert_allclose(intersection_over_union(predicted, truth, 3), [(1 / 2 + 3 / 5 + 0) / 3, 1.0])

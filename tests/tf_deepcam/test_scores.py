"""The benchmark's IoU against the reference's figures, and by hand."""

import numpy as np
import pytest

from tests.helpers import GOLDEN
from tf_deepcam.scores import intersection_over_union


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

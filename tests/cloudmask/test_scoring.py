"""Scores of masks by hand and against scikit-learn: pooled, by scene, by stratum, calibration."""

import numpy as np
import pytest
from sklearn import metrics

from cloudmask import scores, scoring
from cloudmask.data.ancillary import Ancillary
from cloudmask.scores import BinaryCounts
from cloudmask.scoring import Scores, scene_means, score, strata
from cloudmask.sen3.product import Flags

SHAPE = (40, 50)
FLAGS = {"ocean": 2, "land": 8, "day": 1024, "twilight": 2048, "sun_glint": 4096, "snow": 8192, "summary_cloud": 16384}


def arrays(seed: int) -> tuple:
    """probability, cloud, counted, measured."""
    rng = np.random.default_rng(seed)
    measured = (rng.random(SHAPE) < 0.8).astype(np.uint8)
    return rng.random(SHAPE, np.float32), rng.integers(0, 2, SHAPE).astype(np.uint8), measured, measured


def test_every_mask_is_scored_as_scikit_learn_would():
    probability, cloud, counted, measured = arrays(1)
    other = np.random.default_rng(5).random(SHAPE) < 0.5
    summary = np.random.default_rng(6).random(SHAPE) < 0.5
    found = score(probability, 0.4, {"baseline": other}, cloud, counted, measured, Ancillary(summary=summary)).by_mask()
    seen = measured > 0
    for name, mask in {"network": probability > 0.4, "baseline": other, "summary": summary}.items():
        values = found[name]
        assert values["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(cloud[seen], mask[seen]))
        assert values["accuracy_measured_pixels"] == values["pixel_accuracy"]
        assert values["accuracy_all_pixels"] == pytest.approx(np.mean(cloud == mask))
        assert values["f1"] == pytest.approx(metrics.f1_score(cloud[seen], mask[seen]))
        assert values["iou"] == pytest.approx(metrics.jaccard_score(cloud[seen], mask[seen]))
        assert values["precision"] == pytest.approx(metrics.precision_score(cloud[seen], mask[seen]))
    expected = metrics.log_loss(cloud[seen], probability[seen].astype(np.float64))
    assert found["network"]["log_loss"] == pytest.approx(expected)


def test_with_every_pixel_counted_both_accuracies_still_differ():
    probability, cloud, _, measured = arrays(2)
    values = score(probability, 0.5, {}, cloud, np.ones_like(measured), measured, Ancillary()).by_mask()["network"]
    assert values["pixel_accuracy"] == values["accuracy_all_pixels"] != values["accuracy_measured_pixels"]
    right = (probability > 0.5) == (cloud > 0)
    assert values["accuracy_measured_pixels"] == pytest.approx(right[measured > 0].mean())


def test_scenes_add_up_to_the_whole():
    parts = [arrays(seed) for seed in (1, 2, 3)]
    added = sum((score(p, 0.5, {}, c, w, m, Ancillary(folder="day")) for p, c, w, m in parts), Scores())
    p, c, w, m = (np.concatenate(each) for each in zip(*parts))
    whole = score(p, 0.5, {}, c, w, m, Ancillary(folder="day"))
    for ours, expected in zip(
        (*added.by_mask()["network"].values(), *added.by_stratum()["day"]["network"].values()),
        (*whole.by_mask()["network"].values(), *whole.by_stratum()["day"]["network"].values()),
    ):
        assert ours == pytest.approx(expected)
    np.testing.assert_allclose(added.calibration, whole.calibration)


def test_the_mean_over_scenes_weighs_each_scene_alike():
    probability, cloud, counted, measured = arrays(3)
    few = np.zeros_like(counted)
    few[0, :5] = 1
    scenes = [score(probability, 0.5, {}, cloud, w, measured, Ancillary()) for w in (counted, few)]
    nothing = score(probability, 0.5, {}, cloud, np.zeros_like(few), measured, Ancillary())
    means = scene_means([*scenes, nothing])
    assert means["scenes"] == 2
    for name in ("pixel_accuracy", "f1", "log_loss"):
        assert means[name] == pytest.approx(np.mean([scene.counted["network"].scores()[name] for scene in scenes]))


def test_calibration_by_hand():
    """Two bins: 0.1 said of four pixels of which one is cloud, 0.9 of two that are both."""
    probability = np.float32([[0.1, 0.1, 0.1, 0.1, 0.9, 0.9]])
    cloud = np.uint8([[1, 0, 0, 0, 1, 1]])
    ones = np.ones_like(cloud)
    curve = score(probability, 0.5, {}, cloud, ones, ones, Ancillary()).calibration_curve()
    filled = [(n, p, c) for n, p, c in zip(curve["pixels"], curve["probability"], curve["cloud"]) if n]
    assert [(n, round(p, 6), c) for n, p, c in filled] == [(4, 0.1, 0.25), (2, 0.9, 1.0)]
    assert curve["expected_calibration_error"] == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)
    assert len(curve["pixels"]) == scoring.BINS
    assert curve["cloud"].count(None) == scoring.BINS - 2


def test_a_probability_of_one_is_in_the_last_bin():
    ones = np.ones((1, 3), np.uint8)
    found = score(np.ones((1, 3), np.float32), 0.5, {}, ones, ones, ones, Ancillary()).calibration
    assert found[0].tolist() == [0.0] * (scoring.BINS - 1) + [3.0]


def test_after_preparation_no_scene_waits_for_a_compilation():
    scoring.prepare()
    functions = (scores._sums, scoring._calibration)
    before = [len(function.nopython_signatures) for function in functions]
    cloud = np.ones((4, 6), np.uint8)
    truth = Ancillary(truth=cloud.view(bool))
    of_tiles = np.full((4, 6), 0.9, np.float32)
    of_tensorflow = of_tiles.copy()
    of_tensorflow.flags.writeable = False
    for probability in (of_tiles, of_tensorflow):
        score(probability, 0.5, {"baseline": cloud.view(bool)}, cloud, cloud, cloud, truth)
    assert [len(function.nopython_signatures) for function in functions] == before


def test_nan_has_no_bin():
    ones = np.ones((1, 3), np.uint8)
    found = score(np.float32([[np.nan, 0.9, np.nan]]), 0.5, {}, ones, ones, ones, Ancillary())
    assert found.calibration[0].sum() == 1
    assert np.isnan(found.by_mask()[scoring.NETWORK]["log_loss"])


def flags(*meanings: str) -> Flags:
    return Flags(np.full((1, 1), sum(FLAGS[name] for name in meanings), np.uint16), FLAGS)


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        (Ancillary(confidence=flags("day", "ocean", "sun_glint")), {"day", "ocean", "sun glint"}),
        (Ancillary(confidence=flags("twilight", "land", "snow")), {"twilight", "land", "snow"}),
        (Ancillary(confidence=flags("land"), solar_zenith=np.zeros((1, 1))), {"night", "land"}),  # the flags are asked
        (Ancillary(solar_zenith=np.full((1, 1), 79.9)), {"day"}),
        (Ancillary(solar_zenith=np.full((1, 1), 80.0)), {"twilight"}),
        (Ancillary(solar_zenith=np.full((1, 1), 90.0)), {"night"}),
        (Ancillary(folder="night"), {"night"}),
        (Ancillary(folder="training"), set()),
    ],
)
def test_strata_are_told_by_flags_then_by_the_sun_then_by_the_folder(beside, expected):
    assert {name for name, place in strata(beside, (1, 1)).items() if place.all()} == expected


def test_strata_leave_out_pixels_that_do_not_count():
    probability, cloud, counted, measured = arrays(4)
    found = score(probability, 0.5, {}, cloud, counted, measured, Ancillary(folder="day")).by_stratum()
    assert found["day"]["network"]["pixels"] == counted.sum()


def test_counts_without_probabilities_are_those_of_sure_ones():
    _, cloud, counted, _ = arrays(7)
    mask = np.random.default_rng(1).random(SHAPE) < 0.5
    sure = BinaryCounts.of(mask.astype(np.float32), cloud, counted, 0.5)
    ours = BinaryCounts.of_certain(mask, cloud > 0, counted > 0)
    np.testing.assert_allclose(ours.as_array(), sure.as_array(), rtol=1e-12)


def test_where_the_truth_is_known_masks_and_labels_are_scored_against_it_too():
    """Four pixels: the labels miss one cloud, the network finds it and errs elsewhere."""
    truth = np.array([[True, True, False, False]])
    cloud, probability = np.uint8([[1, 0, 0, 0]]), np.float32([[0.9, 0.9, 0.9, 0.1]])
    ones = np.ones_like(cloud)
    found = score(probability, 0.5, {}, cloud, ones, ones, Ancillary(truth=truth, folder="day"))
    assert found.by_mask()["network"]["pixel_accuracy"] == 0.5
    assert {name: values["pixel_accuracy"] for name, values in found.truth.by_mask().items()} == {
        "network": 0.75,
        "labels": 0.75,
    }
    assert found.truth.by_stratum()["day"]["labels"]["f1"] == pytest.approx(2 / 3)
    unknown = score(probability, 0.5, {}, cloud, ones, ones, Ancillary())
    assert unknown.truth is None
    assert (found + unknown + found).truth.by_mask()["network"]["accuracy_all_pixels"] == 0.75
    assert (found + unknown + found).truth.counted["network"].pixels == 8


def test_where_network_and_labels_differ_by_hand():
    """Of eight pixels three: two clouds of the network alone, one of the labels alone, of which the network has two
    right; and the kind in which they differ most."""
    cloud, probability = np.uint8([[1, 0, 0, 0, 0, 1, 1, 1]]), np.float32([[0, 1, 1, 0, 0, 1, 1, 1]])
    truth = np.array([[False, True, False, True, False, True, True, True]])
    land = flags("land")._replace(values=np.uint16([[8, 8, 8, 8, 2, 2, 2, 2]]))
    ones = np.ones_like(cloud)
    beside = Ancillary(truth=truth, confidence=land._replace(meanings={"land": 8, "ocean": 2}))
    found = score(probability, 0.5, {}, cloud, ones, ones, beside).disagreement()
    assert found == pytest.approx(
        {"share": 3 / 8, "network_only": 2 / 8, "labels_only": 1 / 8, "kind": "land", "network_right": 2 / 3}
    )
    assert score(probability, 0.5, {}, cloud, 0 * ones, ones, Ancillary()).disagreement() == {}
    assert "network_right" not in score(probability, 0.5, {}, cloud, ones, ones, Ancillary()).disagreement()

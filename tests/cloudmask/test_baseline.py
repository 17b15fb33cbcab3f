"""The best threshold, on data where it is known."""

import json

import numpy as np
import pytest

from cloudmask import baseline
from cloudmask.config import DataSettings
from cloudmask.data import patches
from cloudmask.data.listing import list_scenes
from common.errors import UserError
from tests.helpers import HEIGHT, PATCH, WIDTH, scene_arrays, write_hdf, write_scenes

SETTINGS = DataSettings(image_h=HEIGHT, image_w=WIDTH, patch_size=PATCH)


def test_the_rule_that_made_the_labels_is_found(tmp_path):
    write_scenes(tmp_path, 3)  # cloud where S8 is below 265 K
    rule = baseline.fit(list_scenes(str(tmp_path)), SETTINGS)
    assert str(rule).startswith("S8 <= 265.0 K")
    assert rule.training_accuracy > 0.999


def test_it_predicts_as_it_was_fitted(tmp_path):
    write_scenes(tmp_path, 1)
    scenes = list_scenes(str(tmp_path))
    rule = baseline.fit(scenes, SETTINGS)
    images, cloud, _ = patches.read_patches(scenes[0].path, SETTINGS)
    assert np.mean(rule.is_cloud(images) == cloud[..., 0]) == pytest.approx(rule.training_accuracy, abs=2e-3)


@pytest.mark.parametrize(("cloud_above", "expected"), [(True, [False, False, True]), (False, [True, True, False])])
def test_the_threshold_s_own_value_is_below(cloud_above, expected):
    image = np.zeros((1, 3, 9), np.float32)
    image[0, :, 4] = (0.2, 0.25, 0.3)
    rule = baseline.Threshold(channel=4, value=0.25, cloud_above=cloud_above, training_accuracy=1.0)
    assert rule.is_cloud(image)[0].tolist() == expected


def test_by_hand_with_cloud_above():
    histogram = np.zeros((9, 2, baseline._BINS))
    histogram[4, 0, 100], histogram[4, 1, 200], histogram[4, 1, 50] = 6, 3, 1  # one cloudy pixel is on the wrong side
    histogram[:4, :, 7] = histogram[5:, :, 7] = [6, 4]
    rule = baseline.best_threshold(histogram)
    assert (rule.channel, rule.cloud_above, rule.training_accuracy) == (4, True, 0.9)
    edges = -5 + 10 / baseline._BINS * np.array([101, 200])
    assert edges[0] <= rule.value <= edges[1]


def test_scenes_without_a_measurement_are_said_and_if_all_are_it_is_an_error(tmp_path):
    write_scenes(tmp_path, 2)
    empty = scene_arrays(5)
    empty["bts"][:] = np.nan
    write_hdf(tmp_path / "S3A_900.hdf", empty)
    said: list = []
    baseline.fit(list_scenes(str(tmp_path)), SETTINGS, said.append)
    assert len(said) == 1
    assert "S3A_900.hdf: nothing was measured in its patches" in said[0]
    with pytest.raises(UserError, match="there is nothing to train on"):
        baseline.fit(list_scenes(str(tmp_path))[2:], SETTINGS, said.append)


@pytest.mark.parametrize(
    "changes", [{"value": float("nan")}, {"value": float("inf")}, {"channel": 9}, {"channel": -1}, {"cloud_above": 0.5}]
)
def test_a_stored_rule_that_cannot_be(tmp_path, changes):
    rule = {"channel": 7, "value": 0.1, "cloud_above": False, "training_accuracy": 0.9, **changes}
    (tmp_path / "baseline.json").write_text(json.dumps(rule))
    with pytest.raises(UserError, match=r"baseline\.json: not a threshold baseline"):
        baseline.stored([tmp_path / "baseline.json"])


@pytest.mark.parametrize(
    ("labels", "kind"),
    [(np.zeros((HEIGHT, WIDTH, 1)), "clear"), (np.full((HEIGHT, WIDTH, 1), 2, np.uint8), "cloud")],
)
def test_labels_of_one_kind_teach_nothing(tmp_path, labels, kind):
    for number in range(2):
        write_hdf(tmp_path / f"S3A_{number}.hdf", {**scene_arrays(number), "bayes": labels})
    with pytest.raises(UserError, match=f"every measured pixel of the 2 training scenes examined is {kind}"):
        baseline.fit(list_scenes(str(tmp_path)), SETTINGS)


def test_labels_that_are_254_and_255_are_of_one_kind(tmp_path):
    arrays = scene_arrays(1)
    write_hdf(tmp_path / "S3A_1.hdf", {**arrays, "bayes": np.where(arrays["bayes"] > 0, 255, 254).astype(np.uint8)})
    with pytest.raises(UserError, match=r"is cloud by data\.labels: bayes"):
        baseline.fit(list_scenes(str(tmp_path)), SETTINGS)

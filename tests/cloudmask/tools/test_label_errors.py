"""Labels that err: how many, where, and that nothing else of a scene changes."""

import h5py
import numpy as np
import pytest

from cloudmask.data import ancillary
from cloudmask.tools import label_errors, synthesize
from cloudmask.tools.label_errors import CIRRUS, HIGH_CLOUD, LOW_CLOUD, flip, suspects
from cloudmask.tools.made_scenes import make_scene

SHAPE = (200, 250)


def generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(4))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_as_many_labels_are_wrong_as_asked_for(rate):
    truth = np.zeros(SHAPE, np.uint8)
    truth[:100] = HIGH_CLOUD
    labels = flip(generator(), truth, np.zeros(SHAPE, bool), rate)
    assert np.mean((labels > 0) != (truth > 0)) == pytest.approx(rate, abs=1e-4)
    assert set(np.unique(labels[100:])) == {0, LOW_CLOUD}
    np.testing.assert_array_equal(labels, flip(generator(), truth, np.zeros(SHAPE, bool), rate))


def test_without_errors_the_labels_are_the_truth():
    truth = np.full(SHAPE, CIRRUS, np.uint8)
    np.testing.assert_array_equal(flip(generator(), truth, np.ones(SHAPE, bool), 0.0), truth)


def test_suspect_pixels_err_at_higher_odds():
    """By SUSPECT in log odds, as far as the field of noise follows the logistic distribution."""
    suspect = np.zeros(SHAPE, bool)
    suspect[:, ::2] = True
    wrong = flip(generator(), np.zeros(SHAPE, np.uint8), suspect, 0.1) > 0
    first, second = wrong[suspect].mean(), wrong[~suspect].mean()
    assert np.log(first / (1 - first)) - np.log(second / (1 - second)) == pytest.approx(label_errors.SUSPECT, abs=1.0)


def test_errors_lie_in_patches():
    wrong = flip(generator(), np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, bool), 0.1) > 0
    assert wrong[:, 1:][wrong[:, :-1]].mean() > 0.4  # 0.1 if each pixel erred on its own


@pytest.mark.parametrize(
    ("truth", "cirrus", "sun", "place", "expected"),
    [
        (CIRRUS, 0.5, 0.8, "ocean", True),
        (CIRRUS, 1.5, 0.8, "ocean", False),
        (CIRRUS | LOW_CLOUD, 0.5, 0.8, "ocean", False),
        (LOW_CLOUD, 0.0, 0.0, "ocean", True),
        (LOW_CLOUD, 0.0, 0.5, "ocean", False),
        (HIGH_CLOUD, 0.0, 0.0, "snow", False),
        (0, 0.0, 0.5, "snow", True),
        (0, 0.0, 0.5, "sun_glint", True),
        (0, 0.0, 0.0, "sun_glint", False),
        (0, 0.0, 0.5, "coastline", True),
        (0, 0.0, 0.5, "ocean", False),
    ],
)
def test_what_operational_masks_get_wrong_is_suspect(truth, cirrus, sun, place, expected):
    one = np.ones((1, 1))
    surface = {name: one > (0 if name == place else 1) for name in ("ocean", "snow", "sun_glint", "coastline")}
    assert suspects(np.uint8(truth) * one.astype(np.uint8), cirrus * one, sun * one, surface)[0, 0] == expected


def test_nothing_but_the_labels_of_a_scene_changes():
    clean, erring = make_scene(1, 5, 80, 100), make_scene(1, 5, 80, 100, 0.2)
    for name in ("refs", "bts", "truth", "summary", "latitude"):
        np.testing.assert_array_equal(getattr(clean, name), getattr(erring, name))
    np.testing.assert_array_equal(clean.bayes, clean.truth)
    assert np.mean((erring.bayes > 0) != (erring.truth > 0)) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("form", ["dataset", "small", "sen3"])
def test_every_form_keeps_the_truth_beside_the_labels(tmp_path, form):
    assert synthesize.main(synthesize.Collection(str(tmp_path), 1, form, 0, 0.2, 96, 120)) == 0
    (path,) = (path for path in tmp_path.rglob("S3A*") if path.suffix in (".hdf", ".SEN3"))
    truth = ancillary.read(str(path), (96, 120)).truth
    np.testing.assert_array_equal(truth, make_scene(0, 0, 96, 120).truth[..., 0] > 0)
    if form == "dataset":
        with h5py.File(path) as file:
            assert np.mean((file["bayes"][..., 0] > 0) != truth) == pytest.approx(0.2, abs=1e-3)

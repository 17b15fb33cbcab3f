"""Lines of latitude and longitude where they are, at the date line and at the poles too."""

import numpy as np
import pytest

from cloudmask.pictures import graticule
from cloudmask.sen3.coordinates import UNKNOWN, microdegrees
from common import figures


@pytest.mark.parametrize(
    ("degrees", "signs", "words"),
    [(40, "NS", "40° N"), (-2.5, "NS", "2.5° S"), (0, "NS", "0°"), (-61, "EW", "61° W"), (181, "EW", "179° W")],
)
def test_degrees_as_in_an_atlas(degrees, signs, words):
    assert graticule.words(degrees, signs) == words


def test_levels_are_round_and_few():
    assert graticule.levels(np.array([37.8, np.nan, 40.5])).tolist() == [38, 39, 40]
    assert graticule.levels(np.array([-0.05, 0.31])).tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    assert graticule.levels(np.array([-170.0, 179.0])).tolist() == [-90, 0, 90]


def test_the_date_line_is_no_jump():
    east = np.array([[178.0, 179.0, -180.0, -179.0]])
    assert np.diff(graticule.unwrapped(east)).ravel().tolist() == pytest.approx([1, 1, 1])


def test_around_a_pole_there_is_a_gap_in_place_of_a_bundle_of_meridians():
    y, x = np.mgrid[-10:10:40j, -10:10:40j]
    east = graticule.unwrapped(np.degrees(np.arctan2(y, x)))
    steps = np.abs(np.diff(east, axis=0))
    assert 0 < np.isnan(east).sum() < 50
    assert np.nanmax(steps) < 90


def test_an_edge_is_crossed_between_its_pixels():
    along, degrees = np.array([0.0, 10.0, 20.0]), np.array([50.0, 49.0, np.nan])
    assert graticule.crossing(along, degrees, 49.25) == pytest.approx(7.5)
    assert graticule.crossing(along, degrees, 48.0) is None


def test_lines_and_their_degrees_are_drawn_and_seen_on_any_ground(tmp_path):
    rows, columns = np.mgrid[0:300, 0:400]
    latitude, longitude = microdegrees(52.5 - rows / 100), microdegrees(178.5 + columns / 100)
    latitude[:, -20:] = UNKNOWN
    with figures.picture(tmp_path / "a.png", (4, 3)) as (_, ((axis,),)):
        axis.imshow(np.zeros((300, 400, 3)))
        graticule.draw(axis, latitude, longitude)
    assert {text.get_text() for text in axis.texts} == {"52° N", "51° N", "50° N", "179° E", "180°", "179° W", "178° W"}
    assert all(text.get_path_effects() for text in axis.texts)
    assert len(axis.collections) == 2
    (north,) = [text for text in axis.texts if text.get_text() == "52° N"]
    assert north.get_position()[1] == pytest.approx(50, abs=1)


def test_unknown_coordinates_draw_nothing(tmp_path):
    unknown = np.full((30, 40), UNKNOWN)
    with figures.picture(tmp_path / "a.png", (4, 3)) as (_, ((axis,),)):
        graticule.draw(axis, unknown, unknown)
    assert not axis.collections
    assert not axis.texts

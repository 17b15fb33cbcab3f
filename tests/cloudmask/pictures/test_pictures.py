"""Pictures of scenes by their structure: panels, titles, legends, and areas of known classes."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cloudmask import masks, scoring
from cloudmask.config import load
from cloudmask.data import ancillary
from cloudmask.data.scenes import read_scene
from cloudmask.pictures import calibration, disagreement, panels, scene
from cloudmask.tools import made_scenes, synthesize
from common import figures

HEIGHT, WIDTH = 96, 128
CONFIG = load(overrides=[f"data.image_h={HEIGHT}", f"data.image_w={WIDTH}", "data.patch_size=32"])
BY_DAY, BY_NIGHT = 9, 2  # scenes of the collection 7


def titles(figure) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes if axis.get_title(loc="left")]


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


class Masked:
    """A scene whose mask is the truth, but for a square in which it says the contrary."""

    def __init__(self, folder: Path, number: int = BY_DAY, form: str = "small", without: tuple[str, ...] = ()):
        made = made_scenes.make_scene(7, number, HEIGHT, WIDTH, label_error=0.1)
        path = folder / synthesize.FORMS[form].name(7, number)
        synthesize.FORMS[form].write(path, made)
        for name in without:
            with h5py.File(path, "r+") as file:
                del file[name]
        self.path, self.mask = str(path), folder / masks.netcdf_name(str(path))
        read = read_scene(self.path, CONFIG.data)
        beside = ancillary.read(self.path, read.measured.shape)
        probability = (made.truth[..., 0] > 0).astype(np.float32)
        probability[20:60, 40:80] = 1 - probability[20:60, 40:80]
        self.measured, self.truth, self.probability = read.measured > 0, made.truth[..., 0] > 0, probability
        masks.write_netcdf(self.mask, probability, read.measured, beside, 0.5, {})
        self.scores = scoring.Scores()
        if read.cloud is not None:
            weights = read.counted(CONFIG.data), read.measured
            self.scores = scoring.score(probability, 0.5, {}, read.cloud, *weights, beside)


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return Masked(tmp_path_factory.mktemp("masked"))


@pytest.fixture(scope="module")
def drawn(masked):
    return scene.draw(masked.path, masked.mask, masked.mask.with_suffix(".png"), CONFIG)


def test_a_scene_with_labels_that_err_has_six_panels_and_a_legend(masked, drawn):
    right = f"{np.mean((masked.probability > 0.5)[masked.measured] == masked.truth[masked.measured]):.2%}"
    found = titles(drawn)
    assert found[:2] == ["scene: S5, S3, S2 as red, green, blue", "network: probability of cloud"]
    assert found[2].startswith("labels: ")
    assert [title.split(":")[0] for title in found[3:5]] == ["network against labels", "labels against truth"]
    assert found[5] == f"network against truth: {right} of pixels right"
    assert legend(drawn) == ["cloud", "clear", "right", "missed cloud", "false cloud", "no data"]
    assert drawn.get_suptitle() == Path(masked.path).name
    assert masked.mask.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("without", "panels_", "entries"), [(("truth",), 4, 6), (("bayes",), 2, 1)])
def test_what_is_not_known_is_not_drawn(tmp_path, without, panels_, entries):
    one = Masked(tmp_path, without=without)
    figure = scene.draw(one.path, one.mask, tmp_path / "a.png", CONFIG)
    assert (len(titles(figure)), len(legend(figure))) == (panels_, entries)


def test_errors_have_their_colours_and_no_data_is_seen_through(masked):
    view = panels.View.read(masked.path, masked.mask, CONFIG)
    with figures.picture(masked.mask.with_suffix(".png"), (4, 4)) as (_, ((axis,),)):
        panels.show_errors(axis, view, view.predicted, masked.truth, "x")
    colours = axis.images[0].get_array()
    assert colours.shape == (HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(colours[..., 3] > 0, masked.measured)
    assert axis.patch.get_hatch()
    for cloud, colour in ((True, figures.VERMILION), (False, figures.BLUE)):
        square = np.zeros_like(masked.truth)
        square[20:60, 40:80] = True
        wrong = square & (masked.truth == cloud) & masked.measured
        np.testing.assert_allclose(colours[wrong][:, :3], [to_rgb(colour)] * wrong.sum(), atol=1e-6)
        assert wrong.any()


def test_the_probability_has_its_scale_below_and_takes_no_room_from_its_panel(drawn):
    boxes = [axis.get_position() for axis in drawn.axes if axis.get_title(loc="left")]
    assert [box.width for box in boxes] == pytest.approx([boxes[0].width] * 6)
    assert [box.y0 for box in boxes[:3]] == pytest.approx([boxes[0].y0] * 3)


def test_a_scene_by_night_is_drawn_by_its_temperature(tmp_path):
    one = Masked(tmp_path, BY_NIGHT)
    figure = scene.draw(one.path, one.mask, tmp_path / "a.png", CONFIG)
    assert titles(figure)[0] == "scene: S8, 220 K white, 300 K black"
    colours = figure.axes[0].images[0].get_array()[one.measured]
    np.testing.assert_array_equal(colours[:, 0], colours[:, 2])
    assert colours[:, 0].std() > 0.05


def test_half_a_scene_in_the_night_has_both():
    image = np.full((4, 4, 9), 0.1, np.float32)
    image[:2, :, :6] = -0.5  # no reflectance, and warm
    image[..., 7] = (300 - 270) / 22
    colours, words = panels.composite(image, np.ones((4, 4)))
    assert words == "S5, S3, S2 as red, green, blue; by night S8"
    assert colours[:2].max() < 1e-6 < 0.5 < colours[2:].min()


def test_a_disagreement_says_how_much_in_what_and_shows_where_from_close_up(masked, tmp_path):
    figure = disagreement.draw(masked.path, masked.mask, masked.scores, tmp_path / "d.png", CONFIG)
    values = masked.scores.disagreement()
    first, second = figure.get_suptitle().splitlines()
    assert f"differ in {values['share']:.2%} of pixels" in first
    assert f"; most in {values['kind']}, " in first
    assert second == Path(masked.path).name
    assert [title.split(":")[0] for title in titles(figure)] == [
        *("scene", "where they differ", "who is right", "share that differs, by kind of pixel"),
        *("the frame", "network", "labels", "truth"),
    ]
    assert titles(figure)[2] == f"who is right: the network in {values['network_right']:.0%}"
    bars = figure.axes[3]
    kinds = [label.get_text() for label in bars.get_yticklabels()]
    assert kinds[:2] == ["all pixels", values["kind"]]
    widths = [patch.get_width() for patch in bars.patches]
    assert widths[0] == pytest.approx(values["share"])
    assert widths[1:] == sorted(widths[1:], reverse=True)
    assert legend(figure)[2:] == [
        *("the same", "cloud to the network only", "cloud to the labels only"),
        *("network right", "labels right", "no data"),
    ]


def test_without_truth_nobody_is_right(tmp_path):
    one = Masked(tmp_path, without=("truth",))
    figure = disagreement.draw(one.path, one.mask, one.scores, tmp_path / "d.png", CONFIG)
    assert len(titles(figure)) == 6
    assert "network right" not in legend(figure)


def test_the_frame_holds_the_part_with_most_differences(masked):
    labels = np.zeros((500, 1000), bool)
    predicted = labels.copy()
    predicted[400:420, 900:980] = True
    predicted[::50, ::50] = True
    nothing = np.zeros(labels.shape)
    view = panels.View(nothing, "", ~labels, ~labels, nothing, predicted, labels, None, None, None)
    rows, columns = disagreement.disputed(view)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (100, 200)
    assert rows.start <= 400 < 420 <= rows.stop <= 500
    assert columns.start <= 900 < 980 <= columns.stop <= 1000


def test_the_calibration_has_units_and_a_line_to_compare_with(tmp_path):
    curve = {"pixels": [30, 0, 10], "probability": [0.1, None, 0.9], "cloud": [0.2, None, 0.7]}
    above, below = calibration.draw({**curve, "expected_calibration_error": 0.125}, tmp_path / "c.png").axes
    labels = [text.get_text() for text in above.get_legend().get_texts()]
    assert labels == ["perfectly calibrated", "network: expected calibration error 0.1250"]
    assert (above.get_ylabel(), below.get_ylabel()) == ("share of cloud in the labels", "share of pixels")
    assert below.get_xlabel() == "network: probability of cloud"
    assert [patch.get_height() for patch in below.patches] == [0.75, 0.25]

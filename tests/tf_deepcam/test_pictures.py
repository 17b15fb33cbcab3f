"""The picture of a sample: a field with its unit, and where the prediction errs."""

import numpy as np
import pytest

from tf_deepcam import pictures


def drawn(tmp_path, shape, channel=0, predicted=None):
    field = np.linspace(0, 60, shape[0] * shape[1]).reshape(shape)
    truth = np.zeros(shape, int)
    truth[2:6, 2:6], truth[8:12, :8] = 1, 2
    return pictures.draw(field, channel, truth, truth if predicted is None else predicted, tmp_path / "s.png")


def panels(figure) -> list:
    return [axis for axis in figure.axes if axis.get_title(loc="left")]


def test_panels_have_titles_units_and_a_legend(tmp_path):
    figure = drawn(tmp_path, (16, 32))
    assert [axis.get_title(loc="left") for axis in panels(figure)] == [
        "integrated water vapour (TMQ)",
        "labels",
        "prediction: IoU 1.000 (cyclones 1.00, rivers 1.00)",
        "prediction against labels: 0.00% of pixels differ",
    ]
    (bar,) = figure.axes[0].child_axes
    assert bar.get_ylabel() == "kg/m²"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("background", "tropical cyclone", "atmospheric river"),
        *("found", "missed", "false", "of the wrong kind"),
    ]
    assert panels(figure)[0].get_ylabel() == "grid rows from the south"
    boxes = [axis.get_position() for axis in panels(figure)]
    assert [box.width for box in boxes] == pytest.approx([boxes[0].width] * 4)


def test_a_whole_globe_has_latitudes(tmp_path):
    axis = panels(drawn(tmp_path, (768, 1152)))[2]
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("latitude", "longitude")
    assert [label.get_text() for label in axis.get_yticklabels()] == ["60° S", "30° S", "0°", "30° N", "60° N"]
    assert list(axis.get_yticks()) == [-60, -30, 0, 30, 60]
    left, right, low, high = axis.images[0].get_extent()
    assert (right - left, low, high) == pytest.approx((360, -high, 90 + 90 / 767))


def test_other_channels_have_their_names_and_units(tmp_path):
    figure = drawn(tmp_path, (16, 32), channel=9)
    assert panels(figure)[0].get_title(loc="left") == "temperature at 500 hPa (T500)"
    assert figure.axes[0].child_axes[0].get_ylabel() == "K"


def test_each_kind_of_error_is_told():
    truth, predicted = np.array([[0, 1, 2, 0, 1]]), np.array([[0, 1, 0, 2, 2]])
    assert pictures.errors(predicted, truth).tolist() == [[0, 1, 2, 3, 4]]


def test_events_that_nobody_sees_are_said_to_be_none(tmp_path):
    nothing = np.zeros((16, 32), int)
    figure = pictures.draw(nothing + 1.0, 0, nothing, nothing, tmp_path / "s.png")
    assert "(no cyclones, no rivers)" in panels(figure)[2].get_title(loc="left")

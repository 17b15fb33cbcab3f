"""The curves in a run's folder: what has been recorded, labelled, and readable also after one update."""

import pytest

from common.report.extension import Extension
from common.report.one_run import draw_curves
from common.runs.kinds import Epoch, Step, as_json, select

EXTENSION = Extension(score_titles={"iou": "IoU"})


def records(updates: int, rate: float = 1e-3) -> list[dict]:
    steps = [Step(n, 1, rate, {"loss": 1.0 / n, "iou": 0.1}) for n in range(1, updates + 1)]
    return [*map(as_json, steps), as_json(Epoch(updates, 1, 2.0, evaluation={"loss": 0.5, "iou": 0.2}))]


def draw(lines, folder):
    return draw_curves(select(Step, lines), lines, folder, "iou", EXTENSION)


def test_each_panel_has_its_title_and_its_curves(tmp_path):
    figure = draw(records(100), tmp_path)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["loss", "IoU", "learning rate"]
    assert {axis.get_xlabel() for axis in figure.axes} == {"update"}
    assert [[line.get_label() for line in axis.lines] for axis in figure.axes] == [
        ["training", "held out"],
        ["training", "held out"],
        ["training"],
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "held out"]
    training, held_out = figure.axes[0].lines
    assert (training.get_marker(), held_out.get_marker()) == ("", "s")
    assert (tmp_path / "curves.png").is_file()


@pytest.mark.parametrize("rate", [1e-3, 3.3e-7])
def test_a_constant_learning_rate_has_an_axis_from_zero_with_plain_numbers(tmp_path, rate):
    axis = draw(records(100, rate), tmp_path).axes[-1]
    assert axis.get_ylim() == pytest.approx((0, 1.25 * rate))
    ticks = [label.get_text() for label in axis.get_yticklabels()]
    assert [float(tick.replace("\N{MINUS SIGN}", "-")) for tick in ticks] == pytest.approx(list(axis.get_yticks()))
    assert axis.yaxis.get_offset_text().get_text() == ""


def test_one_update_is_a_mark_at_a_whole_number(tmp_path):
    axis = draw(records(1), tmp_path).axes[0]
    assert axis.lines[0].get_marker() == "o"
    assert [tick for tick in axis.get_xticks() if axis.get_xlim()[0] <= tick <= axis.get_xlim()[1]] == [1.0]


def test_no_update_no_picture(tmp_path):
    assert draw([], tmp_path) is None
    assert list(tmp_path.iterdir()) == []

"""Grids of inferences: short names, heat maps with one, two and three axes, and mistakes before anything runs."""

import pytest

from common.config.axes import Axis
from common.measuring import grid
from common.measuring.grid import Cell
from tests.helpers import errors, run


def test_names_are_short_where_that_tells_them_apart():
    assert grid.short(["inference.mode", "threads"]) == ["mode", "threads"]
    assert grid.short(["inference.precision", "training.precision"]) == ["inference.precision", "training.precision"]


@pytest.mark.parametrize(
    ("axes", "cells"),
    [
        ([Axis("threads", ["1", "2"])], [Cell(("2",), 3.0, 0.1)]),
        ([Axis("threads", ["1", "2"]), Axis("a.b", ["x"])], [Cell(("1", "x"), 3.0, 0.1), Cell(("2", "x"), 4.0, 0.1)]),
        ([Axis("threads", ["1"]), Axis("a", ["x"]), Axis("c", ["y", "z"])], [Cell(("1", "x", "z"), 3.0, 0.1)]),
    ],
)
def test_a_heat_map_of_any_number_of_axes_and_of_failed_runs(tmp_path, axes, cells):
    *maps, bar = grid.draw(cells, axes, tmp_path / "grid.png").axes
    assert bar.get_ylabel() == "samples/s"
    assert maps[0].get_ylabel() == "threads"
    assert maps[0].get_xlabel() == (axes[1].key.split(".")[-1] if axes[1:] else "")
    assert [label.get_text() for label in maps[0].get_yticklabels()] == axes[0].values
    written = [text.get_text() for panel in maps for text in panel.texts]
    rates = [f"{cell.median:.2f}" for cell in cells]
    assert written == (["failed", *rates] if len(cells[0].values) == 1 else rates)
    assert (tmp_path / "grid.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the following arguments are required: --axis"),
        (("--axis", "inference.mode=io,hole"), "override 'inference.mode=hole': 'inference.mode' should be"),
        (("--axis", "threads=1,2", "threads=4"), "--axis: 'threads' is given twice"),
        (("--axis", "threads=1", "--ranks", "0"), "argument --ranks: must be at least 1 (found: 0)"),
        (
            ("--axis", "threads=1", "inference.grid.ranks=2"),
            "'inference.grid' is no longer a section: python -m cloudmask grid --axis inference.mode=whole,tiles",
        ),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(tmp_path, words, message):
    output = run("-m", "cloudmask", "grid", *words, f"output.folder={tmp_path}")
    (line,) = errors(output.stdout)
    assert message in line
    assert output.returncode == 1
    assert list(tmp_path.iterdir()) == []

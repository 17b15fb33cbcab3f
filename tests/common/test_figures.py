"""Pictures of all benchmarks: colours for every eye, a style of our own, and files that are whole or not there."""

import ast
import itertools
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from common import figures
from common.errors import UserError
from tests.helpers import ROOT
from tests.test_structure import sources

# What eyes without the long or the middle cones see of linear sRGB: Machado, Oliveira and Fernandes, "A
# physiologically-based model for simulation of color vision deficiency", IEEE TVCG 2009, severity 1.
EYES = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
# Linear sRGB to XYZ over the white of D65: IEC 61966-2-1.
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ.sum(1)


def lab(colour: str, eye: str) -> np.ndarray:
    """CIE L*a*b* of a colour as an eye sees it."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    xyz = XYZ @ np.clip(np.asarray(EYES[eye]) @ linear, 0, 1) / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(colours, eye: str) -> float:
    """The least distance of two of them; 2.3 is just seen side by side."""
    return min(np.linalg.norm(lab(a, eye) - lab(b, eye)) for a, b in itertools.combinations(colours, 2))


def test_distances_of_colours_are_those_of_the_books():
    assert apart(("white", "black"), "all cones") == pytest.approx(100, abs=0.1)
    assert apart(("red", "lime"), "all cones") == pytest.approx(170.6, abs=0.5)
    assert apart(("#c06000", "#608000"), "protanopia") < 20 < 60 < apart(("#c06000", "#608000"), "all cones")


@pytest.mark.parametrize("eye", EYES)
def test_colours_of_lines_are_told_apart_by_every_eye(eye):
    assert apart(figures.COLOURS, eye) > 10
    assert apart(figures.COLOURS[:4], eye) > 20


@pytest.mark.parametrize("eye", EYES)
def test_so_are_those_of_the_page_s_charts(eye):
    light, dark = (ROOT / "common/report/assets/page.css").read_text(encoding="utf-8").split("@media", 2)[:2]
    for scheme in (light, dark):
        colours = [re.findall(rf"--c{number}: (#\w+);", scheme)[0] for number in range(6)]
        assert apart(colours, eye) > 8
        assert apart(colours[:4], eye) > 18
    assert tuple(re.findall(r"--c[0-5]: (#\w+);", light)) == figures.COLOURS


def test_lines_differ_in_their_marks_too():
    looks = [figures.look(number) for number in range(7)]
    assert len({look["marker"] for look in looks}) == 7
    assert len({tuple(figures.look(number).items()) for number in range(42)}) == 42


def test_a_picture_is_drawn_in_our_style_whatever_the_user_s_is(tmp_path):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "figure.facecolor": "black"}):
        with figures.picture(tmp_path / "deep" / "a.png", (2, 1)) as (figure, axes):
            axes[0][0].set_title("a title")
        assert matplotlib.rcParams["font.size"] == 30
    assert dict(matplotlib.rcParams) == before
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert axes[0][0].title.get_fontsize() == 11
    assert (tmp_path / "deep" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.png"]


def test_a_picture_that_cannot_be_written_is_one_line_and_leaves_the_old_one(tmp_path):
    old = tmp_path / "old.png"
    old.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), figures.picture(old, (2, 1)):
        _ = 1 / 0
    assert old.read_bytes() == b"old"
    with (
        pytest.raises(UserError, match=r"a\.png: cannot be written \("),
        figures.picture(old / "a.png", (2, 1)),
    ):
        pass
    with (
        pytest.raises(UserError, match=r"a\.bmb: pictures cannot be written as \.bmb; choose one of .*pdf, .*png"),
        figures.picture(tmp_path / "a.bmb", (2, 1)),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]


def test_an_axis_of_one_value_begins_at_zero(tmp_path):
    for values, limits in (([0.001, 0.001], (0, 0.00125)), ([-2.0], (-2.5, 1)), ([0.0], (0, 1))):
        with figures.picture(tmp_path / "a.png", (2, 2)) as (_, axes):
            axes[0][0].plot(values, "o")
            figures.from_zero(axes[0][0])
            assert axes[0][0].get_ylim() == pytest.approx(limits)
    with figures.picture(tmp_path / "a.png", (2, 2)) as (_, axes):
        axes[0][0].plot([3, 4])
        figures.from_zero(axes[0][0])
        assert axes[0][0].get_ylim()[0] > 2


def test_no_program_draws_by_pyplot():
    """It opens windows, keeps figures, and takes a notebook's own backend away."""
    for path in sources():
        text = path.read_text(encoding="utf-8")
        modules = [
            f"{node.module}.{name.name}" if isinstance(node, ast.ImportFrom) else name.name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in node.names
        ]
        assert "matplotlib.pyplot" not in modules, path
        assert "matplotlib.use(" not in text, path

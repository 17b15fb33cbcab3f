"""Pictures of studies and of masks without labels: who is who without colours, and a legend where there is room."""

from types import SimpleNamespace

import numpy as np
import pytest

from cloudmask.research.cluster import figures as of_cluster
from cloudmask.research.study import figures as of_study
from cloudmask.research.study.plan import Trial
from cloudmask.research.study.results import Result
from cloudmask.research.study.speed import Cost

NETWORKS, LOSSES, ERRORS, PRECISIONS = ("narrow", "pixel"), ("bce", "symmetric"), (0.0, 0.1), ("float32", "tf32")
STUDY = {"networks": NETWORKS, "losses": LOSSES, "label_errors": ERRORS, "seeds": (1, 2), "precisions": PRECISIONS}
CONFIG = SimpleNamespace(study=SimpleNamespace(**STUDY))
RESULTS = [
    Result(Trial(network, loss, error, seed), precision, 0.8, 0.9 - error + 0.01 * seed, 1 - error)
    for network in NETWORKS
    for loss in LOSSES
    for error in ERRORS
    for seed in (1, 2)
    for precision in PRECISIONS
]


def words(legend) -> list[str]:
    return [text.get_text() for text in legend.get_texts()]


def test_losses_have_a_panel_a_network_and_a_mark_a_loss(tmp_path):
    first, second = of_study.draw_losses(CONFIG, RESULTS, tmp_path / "losses.png").axes
    assert [axis.get_title(loc="left") for axis in (first, second)] == ["narrow", "pixel"]
    assert words(second.get_legend()) == ["the labels themselves", "bce", "symmetric"]
    assert second.get_legend().get_title().get_text() == "mean of 2 seeds,\nbars: a standard deviation"
    assert len({container.lines[0].get_marker() for container in second.containers}) == 2
    assert first.get_ylabel() == "pixel accuracy against the truth"
    np.testing.assert_allclose(second.containers[0].lines[0].get_ydata(), [0.915, 0.815])


def test_networks_differ_in_marks_and_precisions_in_filling(tmp_path):
    costs = [Cost(name, precision, 0.1 * n, 1, 1.0) for n, name in enumerate(NETWORKS, 1) for precision in PRECISIONS]
    (axis,) = of_study.draw_networks(CONFIG, RESULTS, costs, tmp_path / "networks.png").axes
    assert words(axis.get_legend())[1:] == [f"{name}, {precision}" for name in NETWORKS for precision in PRECISIONS]
    points = [container.lines[0] for container in axis.containers]
    assert len({(point.get_marker(), point.get_fillstyle()) for point in points}) == 4
    assert axis.get_xlabel().startswith("seconds per scene")


@pytest.mark.parametrize("masks", [4, 5])
def test_masks_have_a_legend_in_the_free_panel_or_below(tmp_path, masks):
    image = np.full((40, 50, 9), 0.1, np.float32)
    truth = np.zeros((40, 50), bool)
    truth[:, :10] = True
    named = {f"mask {number}": np.roll(truth, number, 1) for number in range(masks)}
    figure = of_cluster.draw(image, named, truth, tmp_path / "c.png")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[:3] == ["scene: S5, S3, S2 as red, green, blue", "mask 0: 100.0% right", "mask 1: 96.0% right"]
    assert titles[1 + masks] == "truth: 20% cloud"
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]
    assert [words(legend) for legend in legends] == [["cloud", "clear", "no data"]]
    assert all(axis.get_title(loc="left") or not axis.axison for axis in figure.axes)

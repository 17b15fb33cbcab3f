"""Clouds without labels: the rule by hand, a network that it teaches, and the command as a user gives it."""

import json

import numpy as np
import pytest

from cloudmask.research.cluster import rule, self_training
from cloudmask.research.config import ClusterSettings, load
from tests.cloudmask.conftest import scenes_with_wrong_labels
from tests.helpers import TINY, errors, records, run


def pixel(s1: float, s5: float, kelvin: float) -> np.ndarray:
    """[9] normalised, of reflectances S1 and S5 and temperature S8."""
    image = np.full(9, 0.1, np.float32)
    image[0], image[4], image[7] = s1 - 0.5, s5 - 0.5, (kelvin - 270) / 22
    return image


@pytest.mark.parametrize(
    ("s1", "s5", "kelvin", "cloud", "sure"),
    [
        (0.7, 0.6, 285.0, True, True),  # a low cloud by day
        (0.85, 0.1, 270.0, False, False),  # snow: dark at 1.6 micrometres, and not warm enough to be sure
        (0.06, 0.02, 285.0, False, True),  # sea
        (0.33, 0.33, 285.0, True, False),  # bright by less than the margin
        (0.06, 0.02, 240.0, True, True),  # cold
        (0.06, 0.02, 262.0, True, False),
    ],
)
def test_cold_or_bright_is_cloud(s1, s5, kelvin, cloud, sure):
    verdict = rule.judge(pixel(s1, s5, kelvin), ClusterSettings())
    assert (bool(verdict.cloud), bool(verdict.sure)) == (cloud, sure)


def test_by_night_temperature_alone_decides():
    """Missing reflectances are 0 after normalisation, which would be bright."""
    image = np.zeros((2, 9), np.float32)
    image[:, 7] = (290 - 270) / 22, (240 - 270) / 22
    verdict = rule.judge(image, ClusterSettings())
    assert verdict.cloud.tolist() == [False, True]
    assert verdict.sure.all()


def test_a_network_learns_from_the_rule_s_sure_pixels_alone():
    """Warm and dark or cold: what lies between takes the side that the other channels tell, which the rule ignores."""
    rng = np.random.default_rng(2)
    side = rng.integers(0, 2, (24, 8, 8, 1)).repeat(4, 1).repeat(4, 2)[..., 0]
    kelvin = np.where(rng.random(side.shape) < 0.5, 265.0, np.where(side, 240.0, 290.0))  # half of them between
    images = np.stack([pixel(0.05, 0.02, 285)] * 1).reshape(1, 1, 1, 9) * np.ones((*side.shape, 1), np.float32)
    images[..., 7], images[..., 3] = (kelvin - 270) / 22, side
    settings = ["training.local_batch_size=8", "optimizer.start_lr=0.01", "cluster.network=pixel", "cluster.updates=60"]
    measured = np.ones((*side.shape, 1), np.uint8)
    network = self_training.train(images.astype(np.float32), measured, load(overrides=settings), lambda _: None)
    found = np.asarray(network(images.astype(np.float32)))[..., 0] > 0.5
    assert np.mean(found == side) > 0.95


@pytest.fixture(scope="module")
def clustered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    settings = scenes_with_wrong_labels(folder, 5)
    output = run("-m", "cloudmask", "cluster", *settings, "cluster.updates=5", "output.run_name=first")
    assert output.returncode == 0, output.stdout
    return folder, output.stdout


def test_every_mask_stands_beside_the_others(clustered):
    folder, output = clustered
    (found,) = records(folder / "first", "cluster")
    names = {"self-training", "cold or bright", "threshold baseline", "operational mask"}
    assert found["scores"].keys() == names | {"the labels themselves"}
    assert found["scores"]["cold or bright"].keys() == {"labels", "truth"}
    accuracy = found["scores"]["self-training"]["truth"]["pixel_accuracy"]
    assert f"| {accuracy:.4f} |" in (folder / "first" / "cluster.md").read_text()
    assert len(list((folder / "first" / "pictures").glob("*-without-labels.png"))) == 1
    assert "scenes, without labels" in output
    log = (folder / "first" / "mlperf.log").read_text()
    assert json.loads(log.splitlines()[-1].split(":::MLLOG ")[1])["key"] == "run_stop"


def test_too_few_scenes_is_one_line(clustered):
    output = run(
        "-m",
        "cloudmask",
        "cluster",
        *TINY,
        f"data.train_dir={clustered[0]}/scenes",
        "data.max_scenes=1",
        f"output.folder={clustered[0]}",
        "output.run_name=few",
    )
    assert "leave one side empty" in errors(output.stdout)[0]
    assert output.returncode == 1
    assert not (clustered[0] / "few").exists()  # which would refuse the repeat

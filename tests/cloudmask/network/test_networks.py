"""The table of networks: each one's parameters by hand, its output, and the division it is logged in."""

import re

import numpy as np
import pytest
import tensorflow as tf

from cloudmask import config
from cloudmask.config import ModelSettings
from cloudmask.network.networks import NETWORKS, find
from common.errors import UserError
from common.training.flops import forward_gflop
from tests.helpers import ROOT


def full(size: int, *channels: int) -> int:
    """Parameters of size x size convolutions one after the other."""
    return sum(size**2 * first * second + second for first, second in zip(channels, channels[1:]))


PARAMETERS = {
    "reference": 1948609,
    "narrow": sum(full(3, *each) for each in ((9, 12, 12), (12, 24, 24), (24, 48, 48), (48, 96, 96)))
    + sum(full(3, *each) for each in ((144, 48, 48), (72, 24, 24), (36, 12, 12)))
    + full(1, 12, 1),
    "pixel": full(3, 9, 24, 24) + full(1, 24, 24, 24, 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_by_hand(name):
    assert NETWORKS[name].build(ModelSettings()).count_params() == PARAMETERS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_probability_of_each_pixel_in_float32(name):
    image = np.random.default_rng(1).normal(size=(2, 48, 64, 9)).astype(np.float32)
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = NETWORKS[name].build(ModelSettings())
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    found = network(image)
    assert (found.shape, found.dtype) == ((2, 48, 64, 1), tf.float32)
    assert 0 <= float(tf.reduce_min(found)) < float(tf.reduce_max(found)) <= 1


def test_an_unknown_network_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"did you mean 'narrow'\?"):
        find("narow")


@pytest.mark.parametrize("override", ["model.network=narrow", "loss.loss=symmetric"])
def test_what_the_reference_has_not_belongs_to_the_open_division(override):
    assert config.load(overrides=[override]).submission.division == "open"
    with pytest.raises(UserError, match=f"'submission.division' must be open with {override.replace('=', ': ')}"):
        config.load(overrides=[override, "submission.division=closed"])
    assert config.load(overrides=["submission.division=closed"]).submission.division == "closed"


def test_the_documents_table_of_networks_is_what_they_are():
    text = (ROOT / "docs" / "cloudmask.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)`[^|]* \| ([\d,]+) \|", text, re.MULTILINE))
    assert {name: int(count.replace(",", "")) for name, count in rows.items() if name in NETWORKS} == PARAMETERS


def test_gflop_of_a_small_image_by_hand():
    """The pixel network's five convolutions, two operations a weight; biases and ReLU are little."""
    weights = 9 * 9 * 24 + 9 * 24 * 24 + 2 * 24 * 24 + 24
    assert forward_gflop(NETWORKS["pixel"].build(ModelSettings()), (16, 16, 9)) == pytest.approx(
        2e-9 * weights * 256, rel=0.02
    )

"""The table of networks: each one's parameters by hand, its output, and the division it is logged in."""

import json
import re
import zipfile
from functools import partial
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from cloudmask import config
from cloudmask.config import NetworkName
from cloudmask.network import unet, up_sampling
from cloudmask.network.networks import NETWORKS, find, load
from common.errors import UserError
from common.keras import files as keras_files
from common.keras.flops import forward_gflop
from tests.helpers import ROOT
from tests.versions import OWN_KERAS_FILES


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
    assert NETWORKS[name].build().count_params() == PARAMETERS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_probability_of_each_pixel_in_float32(name):
    image = np.random.default_rng(1).normal(size=(2, 48, 64, 9)).astype(np.float32)
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = NETWORKS[name].build()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    found = network(image)
    assert (found.shape, found.dtype) == ((2, 48, 64, 1), tf.float32)
    assert 0 <= float(tf.reduce_min(found)) < float(tf.reduce_max(found)) <= 1


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_up_sampling_is_keras_s_and_its_gradient_the_sum(precision):
    x = tf.cast(np.random.default_rng(0).normal(size=(2, 3, 4, 5)), precision)
    upstream = tf.cast(np.random.default_rng(1).integers(-8, 9, (2, 6, 8, 5)), precision)  # so that sums are exact
    keras = tf.keras.layers.UpSampling2D(2, dtype=precision)
    results = {}
    for name, up in {"ours": up_sampling.TwiceAsLarge(2, dtype=precision), "Keras'": keras}.items():
        with tf.GradientTape() as tape:
            tape.watch(x)
            larger = up(x)
        results[name] = (larger, tape.gradient(larger, x, upstream))
    for ours, theirs in zip(*results.values()):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(results["ours"][1], tf.reduce_sum(tf.reshape(upstream, (2, 3, 2, 4, 2, 5)), (2, 4)))


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
    text = (ROOT / "docs" / "reference" / "cloudmask.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)`[^|]* \| ([\d,]+) \|", text, re.MULTILINE))
    assert {name: int(count.replace(",", "")) for name, count in rows.items() if name in NETWORKS} == PARAMETERS


def test_gflop_of_a_small_image_by_hand():
    """The pixel network's five convolutions, two operations a weight; biases and ReLU are little."""
    weights = 9 * 9 * 24 + 9 * 24 * 24 + 2 * 24 * 24 + 24
    assert forward_gflop(NETWORKS["pixel"].build(), (16, 16, 9)) == pytest.approx(2e-9 * weights * 256, rel=0.02)


BUILDS = {**{name: network.build for name, network in NETWORKS.items()}, "layered": partial(unet.unet, layered=True)}


@OWN_KERAS_FILES
@pytest.mark.parametrize("name", BUILDS)
def test_a_saved_network_names_no_class_of_this_program(tmp_path, name):
    tf.keras.utils.set_random_seed(1)
    network = BUILDS[name]()
    keras_files.save(network, tmp_path / "model.keras")
    description = json.loads(zipfile.ZipFile(tmp_path / "model.keras").read("config.json"))
    layers = description["config"]["layers"]
    assert {entry["module"] for entry in [description, *layers]} <= {"keras.layers", "keras.src.engine.functional"}
    image = np.random.default_rng(1).normal(size=(1, 16, 24, 9)).astype(np.float32)
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    # Keras computes the layers, the U-Nets transposed convolutions, in sums of another order.
    np.testing.assert_allclose(loaded(image), network(image), atol=2e-6)


@pytest.mark.filterwarnings("ignore")
def test_the_saved_function_of_a_unet_has_fewer_products_than_its_layers(tmp_path):
    """Other programs run a SavedModel's function, which is as quick as ours."""
    unet.unet().save(tmp_path / "saved_model", save_format="tf")
    graph = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    operations = {node.op for node in nodes}
    assert "Conv2DBackpropInput" in operations
    assert "ResizeNearestNeighbor" not in operations


def test_weights_of_another_network_say_whose_they_are(tmp_path):
    keras_files.save(NETWORKS["narrow"].build(), tmp_path / "model.keras")
    with pytest.raises(UserError, match=r"holds the weights of the network 'narrow', not of 'reference': set model"):
        load(config.ModelSettings(), str(tmp_path / "model.keras"))


def test_every_network_is_a_value_of_model_network():
    assert set(get_args(NetworkName)) == set(NETWORKS)

"""Masks of a whole scene: the reference's figures, and three ways that agree."""

import numpy as np
import pytest
import tensorflow as tf

from cloudmask.config import DataSettings, InferenceSettings
from cloudmask.data.scenes import read_scene
from cloudmask.network import tiling
from cloudmask.network.networks import NETWORKS, Network
from cloudmask.network.tiling import Axis, Tiling
from common.keras.inference import forward
from tests.versions import BOUNDS

REFERENCE = NETWORKS["reference"]


def tiling_of(
    mode: str, height: int = 1200, width: int = 1500, tile: int = 512, network: Network = REFERENCE
) -> Tiling:
    rows, columns = Axis(height, 256, 80, network.factor), Axis(width, 256, 80, network.factor)
    return Tiling(rows, columns, network, mode, tile)


def test_the_reference_s_tiles(golden):
    scene = Tiling.of(DataSettings(), InferenceSettings(), REFERENCE)
    rows, columns = scene.rows, scene.columns
    assert [rows.tiles, columns.tiles] == golden["n_tiles"].tolist() == [7, 9]
    assert (rows.stride, rows.padding, rows.before) == (176, 112, 56)
    assert (columns.stride, columns.padding, columns.before) == (176, 164, 82)


def test_two_columns_on_each_side_put_the_pooling_cells_where_the_reference_has_them():
    assert tiling_of("whole").padding == (0, 0, 2, 2)
    assert tiling_of("reference").padding == (56, 56, 82, 82)


@pytest.mark.parametrize(("mode", "missing"), [("whole", "mask"), ("reference", "mask"), ("reference", "reference")])
def test_a_scene_s_mask_is_the_reference_s(golden, golden_scene, golden_network, mode, missing):
    tiles = tiling_of(mode)
    image, _, cloud = read_scene(golden_scene, DataSettings(missing=missing), tiles.padding)
    mask = tiles.mask(forward(golden_network), image)
    name = {"whole": "whole_scene", "reference": "reference_tiling"}[mode]
    np.testing.assert_allclose(mask[::8, ::8], golden[f"mask_{name}_every8"], atol=1e-5)
    accuracy = golden[f"scene_pixel_accuracy_{name.replace('_scene', '')}"]
    assert np.mean((mask > 0.5) == (cloud > 0)) == pytest.approx(float(accuracy), abs=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("height", "width", "tile"), [(300, 260, 128), (128, 410, 200)])
def test_tiles_give_the_whole_scene_s_result(name, height, width, tile):
    tf.keras.utils.set_random_seed(1)  # what rounding comes to depends on the weights
    network = NETWORKS[name].build(layered=True)
    tiles, whole = (tiling_of(mode, height, width, tile, NETWORKS[name]) for mode in ("tiles", "whole"))
    top, bottom, left, right = tiles.padding
    image = np.random.default_rng(1).normal(size=(1, height, width, 9)).astype(np.float32)
    image = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))
    compiled = forward(network)
    expected = whole.mask(compiled, image)
    assert expected.shape == (height, width)
    np.testing.assert_allclose(tiles.mask(compiled, image), expected, rtol=0, atol=BOUNDS.tiles)
    # oneDNN adds up a transposed convolution in an order that depends on the image's size.
    quick = NETWORKS[name].build()
    quick.set_weights(network.get_weights())
    np.testing.assert_allclose(tiles.mask(forward(quick), image), expected, atol=4e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_pixel_sees_further_than_the_receptive_field(name):
    network = NETWORKS[name].build()
    for weight in network.weights:  # positive kernels: whatever is seen shows
        weight.assign(np.abs(weight) * 0.3 + 1e-3)
    image = np.random.default_rng(2).random((1, 256, 16, 9), dtype=np.float32)
    disturbed = image.copy()
    disturbed[:, :128] += 100
    last = tf.keras.Model(network.input, network.layers[-1].input)  # before the sigmoid, which would saturate
    changed = np.abs(last(disturbed) - last(image))[0].max(axis=(1, 2)) > 0
    reach = int(np.nonzero(changed)[0].max()) - 127
    assert 0.7 * NETWORKS[name].receptive_field < reach <= NETWORKS[name].receptive_field


def test_the_reference_mode_keeps_each_tile_s_middle():
    # A "network" that returns its input's first channel makes the tiling the identity.
    rows, columns = Axis(300, 64, 16, 8), Axis(500, 64, 16, 8)
    image = np.random.default_rng(3).random((1, 300, 500, 9), dtype=np.float32)
    top, bottom, left, right = Tiling(rows, columns, REFERENCE, "reference", 512).padding
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))
    mask = tiling.reference_mask(lambda tiles: tiles[..., :1], padded, rows, columns)
    np.testing.assert_array_equal(mask, image[0, ..., 0])

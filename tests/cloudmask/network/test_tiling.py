"""Masks of a whole scene: the reference's figures, and three ways that agree."""

import numpy as np
import pytest
import tensorflow as tf

from cloudmask.config import DataSettings
from cloudmask.data import scenes as data
from cloudmask.network import tiling
from cloudmask.network.unet import RECEPTIVE_FIELD, unet
from common.training import loop as training

AXES = tiling.axes(1200, 1500, 256, 80)


def test_the_reference_s_tiles(golden):
    rows, columns = AXES
    assert [rows.tiles, columns.tiles] == golden["n_tiles"].tolist() == [7, 9]
    assert (rows.stride, rows.padding, rows.before) == (176, 112, 56)
    assert (columns.stride, columns.padding, columns.before) == (176, 164, 82)


def test_two_columns_on_each_side_put_the_pooling_cells_where_the_reference_has_them():
    assert tiling.padding(*AXES, "whole") == (0, 0, 2, 2)
    assert tiling.padding(*AXES, "reference") == (56, 56, 82, 82)


@pytest.mark.parametrize("mode", ["whole", "reference"])
def test_a_scene_s_mask_is_the_reference_s(golden, golden_scene, golden_network, mode):
    pad = tiling.padding(*AXES, mode)
    image, _, cloud = data.read_scene(golden_scene, data.Missing.of(DataSettings()), pad)
    mask = tiling.mask_scene(training.forward(golden_network), image, *AXES, mode, tile=512)
    name = {"whole": "whole_scene", "reference": "reference_tiling"}[mode]
    np.testing.assert_allclose(mask[::8, ::8], golden[f"mask_{name}_every8"], atol=1e-5)
    accuracy = golden[f"scene_pixel_accuracy_{name.replace('_scene', '')}"]
    assert np.mean((mask > 0.5) == (cloud > 0)) == pytest.approx(float(accuracy), abs=1e-6)


@pytest.mark.parametrize(("height", "width", "tile"), [(300, 260, 128), (128, 410, 200)])
def test_tiles_give_the_whole_scene_s_result(height, width, tile):
    network = unet()
    axes = tiling.axes(height, width, 256, 80)
    top, bottom, left, right = tiling.padding(*axes, "tiles")
    image = np.random.default_rng(1).normal(size=(1, height, width, 9)).astype(np.float32)
    image = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))
    forward = training.forward(network)
    whole = tiling.mask_scene(forward, image, *axes, "whole", tile)
    assert whole.shape == (height, width)
    np.testing.assert_allclose(tiling.mask_scene(forward, image, *axes, "tiles", tile), whole, atol=1e-6)


def test_no_pixel_sees_further_than_the_receptive_field():
    network = unet()
    for weight in network.weights:  # positive kernels: whatever is seen shows
        weight.assign(np.abs(weight) * 0.3 + 1e-3)
    image = np.random.default_rng(2).random((1, 256, 16, 9), dtype=np.float32)
    disturbed = image.copy()
    disturbed[:, :128] += 100
    last = tf.keras.Model(network.input, network.layers[-1].input)  # before the sigmoid, which would saturate
    changed = np.abs(last(disturbed) - last(image))[0].max(axis=(1, 2)) > 0
    reach = int(np.nonzero(changed)[0].max()) - 127
    assert 40 < reach <= RECEPTIVE_FIELD


def test_the_reference_mode_keeps_each_tile_s_middle():
    # A "network" that returns its input's first channel makes the tiling the identity.
    rows, columns = tiling.axes(300, 500, 64, 16)
    image = np.random.default_rng(3).random((1, 300, 500, 9), dtype=np.float32)
    top, bottom, left, right = tiling.padding(rows, columns, "reference")
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))
    mask = tiling.reference_mask(lambda tiles: tiles[..., :1], padded, rows, columns)
    np.testing.assert_array_equal(mask, image[0, ..., 0])

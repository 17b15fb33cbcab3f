"""The compiled pass over pixels, against the same arithmetic in NumPy, and where nothing compiled can be kept."""

import numpy as np
import pytest

from cloudmask.data import normalize

RANGES = ((-1.0, 10.0), (100.0, 400.0))


def block(seed: int, kind: str) -> tuple:
    """Reflectances and temperatures of 4 x 12 pixels with every kind of hole."""
    rng = np.random.default_rng(seed)
    refs, bts = rng.random((4, 12, 6)), 250 + 50 * rng.random((4, 12, 3))
    refs[0, :3], refs[1, 4, 2], refs[1, 5, :5] = 0, 11.0, 0
    bts[0, :3], bts[2, 6, 1], bts[3, 7] = 0, 99.0, 401
    return refs.astype(kind), bts.astype(kind)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("as_it_comes", [True, False])
def test_it_is_the_same_arithmetic_as_numpy_s(kind, as_it_comes):
    refs, bts = block(1, kind)
    image, measured = np.full((4, 2, 4, 9), 7, np.float32), np.full((4, 2, 4), 7, np.uint8)
    assert normalize.normalize(refs, bts, 2, as_it_comes, RANGES, image, measured)
    inside = np.s_[:, 2:10]
    light, kelvin = refs.astype(np.float32)[inside], bts.astype(np.float32)[inside]
    expected = np.concatenate([light - np.float32(0.5), (kelvin - np.float32(270)) / np.float32(22)], axis=-1)
    known = np.concatenate([(light <= 10) & light.any(-1, keepdims=True), (kelvin >= 100) & (kelvin <= 400)], axis=-1)
    if not as_it_comes:
        expected = np.where(known, expected, 0)
    np.testing.assert_array_equal(image.reshape(4, 8, 9), expected)
    np.testing.assert_array_equal(measured.reshape(4, 8), known[..., 6:].any(-1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 7])
def test_what_is_not_finite_is_told_only_where_it_is_taken(value, channel):
    refs, bts = block(2, "f8")
    (refs if channel < 6 else bts)[1, 1, channel % 6] = value
    image, measured = np.empty((4, 1, 12, 9), np.float32), np.empty((4, 1, 12), np.uint8)
    assert not normalize.normalize(refs, bts, 0, True, RANGES, image, measured)
    assert normalize.normalize(refs, bts, 0, False, RANGES, image, measured)
    assert image[1, 0, 1, channel] == 0
    image, measured = image[:, :, :8].copy(), measured[:, :, :8].copy()
    assert normalize.normalize(refs, bts, 4, True, RANGES, image, measured)  # the columns before are not looked at

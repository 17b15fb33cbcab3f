"""How every trainable parameter is drawn, against the reference program's draws (tests/golden/deepcam_init.json)."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers import GOLDEN
from tf_deepcam.network import weights
from tf_deepcam.network.deeplab import deeplab

_OWN_INITIALISATION = ("xception_features.", "bottleneck.aspp")  # the reference's; elsewhere PyTorch's default


def rule(name: str, shape: tuple) -> tuple:
    """(distribution, parameter) in the words of the golden figures; shape in PyTorch's order."""
    if len(shape) < 4:
        if name == "upsample.conv1.6.bias":
            return "uniform", shape[0] ** -0.5
        return "constant", 0.0 if name.endswith("bias") else 1.0
    fan_in = int(np.prod(shape[1:]))  # of a depthwise kernel 9, of a transposed one 9 x its output channels
    if name.startswith(_OWN_INITIALISATION):
        return "normal", (2 / fan_in) ** 0.5
    return "uniform", fan_in**-0.5


def check(name: str, values: np.ndarray, distribution: str, parameter: float) -> None:
    """Within five standard errors of what so many draws give."""
    count = values.size
    if distribution == "constant":
        assert (values == parameter).all(), name
        return
    deviation = parameter if distribution == "normal" else parameter / 3**0.5
    kurtosis, spread = (3.0, 24.0) if distribution == "normal" else (1.8, 1.0)
    standard = values.astype(np.float64) / deviation
    assert abs(standard.mean()) < 5 / count**0.5, name
    assert abs((standard**2).mean() - 1) < 5 * ((kurtosis - 1) / count) ** 0.5, name
    if count > 2000:  # tells uniform (1.8) and truncated at two deviations (2.4) from normal (3)
        assert abs((standard**4).mean() / (standard**2).mean() ** 2 - kurtosis) < 5 * (spread / count) ** 0.5, name
    if distribution == "uniform":
        assert np.abs(values).max() <= parameter * (1 + 1e-6), name


def trainable(network: tf.keras.Model) -> dict:
    return {name: array for name, array in weights.to_arrays(network).items() if ".running_" not in name}


def test_the_rule_says_what_the_reference_draws():
    golden = json.loads((GOLDEN / "deepcam_init.json").read_text())
    assert len(golden) == 301
    for name, entry in golden.items():
        distribution, parameter = rule(name, tuple(entry["shape"]))
        assert distribution == entry["distribution"], name
        found = next(entry[key] for key in ("std", "bound", "value") if key in entry)
        count = 3 * int(np.prod(entry["shape"]))  # three seeds were pooled
        error = 5 * ((2.0 if distribution == "normal" else 0.8) / (4 * count)) ** 0.5  # of a deviation's estimate
        assert found == pytest.approx(parameter, rel=max(error, 1e-3), abs=0), name


@pytest.mark.parametrize(("width", "middle_blocks"), [(1.0, 16), (0.25, 2)])
def test_every_parameter_is_drawn_as_the_reference_draws_it(width, middle_blocks):
    tf.keras.utils.set_random_seed(5)
    drawn = trainable(deeplab(width=width, middle_blocks=middle_blocks))
    if width == 1:
        golden = json.loads((GOLDEN / "deepcam_init.json").read_text())
        assert {name: list(array.shape) for name, array in drawn.items()} == {
            name: entry["shape"] for name, entry in golden.items()
        }
    for name, array in drawn.items():
        check(name, array, *rule(name, array.shape))
    assert (weights.to_arrays(deeplab(width=0.1, middle_blocks=1))["xception_features.bn1.bn.running_var"] == 1).all()


def test_another_seed_draws_other_weights_and_the_same_seed_the_same():
    def draw(seed: int) -> np.ndarray:
        tf.keras.utils.set_random_seed(seed)
        return trainable(deeplab(width=0.05, middle_blocks=1))["bottleneck.conv.weight"]

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).mean() > 0.99

"""Update rules by hand, and LAMB against what tensorflow-addons' gave (golden trajectories are in tests/tf_deepcam)."""

import numpy as np
import pytest
import tensorflow as tf

from common.errors import UserError
from common.optim import optimizers
from common.optim.optimizers import OptimizerSettings
from common.optim.schedules import ScheduleSettings


class AsPytorch(OptimizerSettings):
    """And with LARC, which a benchmark may have."""

    eps_form = "pytorch"
    larc: float = 0.0

    @property
    def trust_coefficient(self) -> float:
        return self.larc


def stepped(gradients: list, start: list, kind=AsPytorch, **settings) -> np.ndarray:
    """A variable after one update for each gradient."""
    variable = tf.Variable(start, dtype=tf.float32)
    optimizer = optimizers.build(kind(**settings), ScheduleSettings())
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient, tf.float32), variable)])
    return variable.numpy()


def adam_by_hand(gradients, w, rate, eps, l2=0.0, decoupled=0.0, before=False) -> np.ndarray:
    w, m, v = np.array(w, np.float64), 0.0, 0.0
    for step, g in enumerate(np.array(gradients, np.float64), 1):
        w = w * (1 - rate * decoupled)
        g = g + l2 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        m_hat, correction = m / (1 - 0.9**step), np.sqrt(1 - 0.999**step)
        root = (np.sqrt(v) + eps) / correction if before else np.sqrt(v) / correction + eps
        w = w - rate * m_hat / root
    return w


GRADIENTS = [[0.5, -2e-5, 0.0], [-0.25, 3e-5, 1e-3]]
START = [1.0, -2.0, 0.5]


@pytest.mark.parametrize(
    ("settings", "by_hand"),
    [
        ({}, {}),
        ({"kind": OptimizerSettings}, {"before": True}),
        ({"weight_decay": 0.3}, {"l2": 0.3}),
        ({"weight_decay": 0.3, "optimizer": "AdamW"}, {"decoupled": 0.3}),
    ],
)
def test_adam_by_hand(settings, by_hand):
    ours = stepped(GRADIENTS, START, start_lr=0.1, eps=1e-4, **settings)
    np.testing.assert_allclose(ours, adam_by_hand(GRADIENTS, START, 0.1, 1e-4, **by_hand), rtol=1e-5)


def test_adam_with_keras_eps_is_keras_adam():
    ours = stepped(GRADIENTS, START, OptimizerSettings, start_lr=0.1, eps=1e-4)
    variable, keras = tf.Variable(START), tf.keras.optimizers.Adam(0.1, epsilon=1e-4)
    for gradient in GRADIENTS:
        keras.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(ours, variable, rtol=1e-6)


# tensorflow-addons 0.23.0 on TensorFlow 2.15.1: a variable after each of GRADIENTS was applied by
# tfa.optimizers.LAMB(0.1, epsilon=1e-6, weight_decay_rate=0.01). The second starts as a tensor of norm 0, which has no
# trust ratio.
ADDONS_LAMB = [
    (START, [[0.834937811, -1.84108555, 0.49918285], [0.765751004, -1.8964839, 0.310759842]]),
    ([0.0, 0.0, 0.0], [[-0.0999998003, 0.095238097, 0.0], [-0.104443751, 0.0912301093, -0.0124454778]]),
]


@pytest.mark.parametrize(("start", "expected"), ADDONS_LAMB)
def test_lamb_is_tensorflow_addons_lamb(start, expected):
    for updates in (1, 2):
        settings = {"optimizer": "LAMB", "start_lr": 0.1, "eps": 1e-6, "weight_decay": 0.01}
        ours = stepped(GRADIENTS[:updates], start, **settings)
        np.testing.assert_allclose(ours, expected[updates - 1], rtol=1e-5)


def test_lamb_s_first_step_by_hand():
    # m_hat / sqrt(v_hat) is the sign of the gradient: update (1, -1), norm sqrt(2); weights' norm 5
    ours = stepped([[7.0, -0.1]], [3.0, 4.0], optimizer="LAMB", start_lr=0.01, eps=1e-12, weight_decay=1e-9)
    np.testing.assert_allclose(ours, [3 - 0.05 / np.sqrt(2), 4 + 0.05 / np.sqrt(2)], rtol=1e-5)


def test_lamb_without_decay_has_no_trust_ratio():
    """As APEX's FusedLAMB, the reference's: the step is Adam's."""
    ours = stepped([[7.0, -0.1]], [3.0, 4.0], optimizer="LAMB", start_lr=0.01, eps=1e-12)
    np.testing.assert_allclose(ours, [3 - 0.01, 4 + 0.01], rtol=1e-5)


@pytest.mark.parametrize(("name", "given", "norm"), [("LAMB", None, 1.0), ("LAMB", 0.0, None), ("Adam", None, None)])
def test_lamb_alone_clips_unless_said_otherwise(name, given, norm):
    settings = OptimizerSettings(optimizer=name, max_grad_norm=given)
    assert optimizers.build(settings, ScheduleSettings()).global_clipnorm == norm
    assert optimizers.log_entries(settings, ScheduleSettings(), 1)["opt_max_grad_norm"] == (norm or 0.0)


@pytest.mark.parametrize(
    ("gradient", "factor"),
    [
        ([30.0, 40.0], 0.1 * 5 / (0.02 * 50)),  # eta |w| / (rate |g|) = 0.5
        ([0.03, 0.04], 1.0),  # 500 is cut to 1
    ],
)
def test_larc_scales_the_gradient(gradient, factor):
    larc = {"larc": 0.1, "start_lr": 0.02, "eps": 1.0}
    scaled = [[value * factor for value in gradient]]
    without = stepped(scaled, [3.0, 4.0], start_lr=0.02, eps=1.0)
    np.testing.assert_allclose(stepped([gradient], [3.0, 4.0], **larc), without, rtol=1e-6)


def test_betas_that_cannot_be_are_refused(tmp_path):
    from common.config import settings as config

    with pytest.raises(UserError, match=r"'optimizer_betas' both must be at least 0 and below 1 \(found: \[0.9, 1.0\]"):
        config.load(OptimizerSettings, None, ["optimizer_betas=[0.9, 1.0]"])


@pytest.mark.parametrize("name", ["Adam", "AdamW", "LAMB"])
def test_an_optimizer_is_saved_with_its_model(tmp_path, name):
    network = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
    settings = AsPytorch(optimizer=name, weight_decay=0.1, larc=0.1)
    network.compile(optimizers.build(settings, ScheduleSettings()), "mse")
    network.fit(np.ones((4, 2)), np.ones(4), verbose=0)
    assert network.optimizer._m[0].shape == (2, 1)
    assert int(network.optimizer.iterations) == 1


@pytest.mark.parametrize("name", ["Adam", "LAMB"])
def test_what_all_variables_share_is_computed_once_an_update(name):
    optimizer = optimizers.build(OptimizerSettings(optimizer=name, weight_decay=0.1), ScheduleSettings())
    variables = [tf.Variable([1.0, 2.0]) for _ in range(3)]
    optimizer.build(variables)

    @tf.function(autograph=False)
    def update():
        for factor in (1.0, 2.0):
            optimizer.apply_gradients([(factor * tf.ones(2), variable) for variable in variables])

    operations = update.get_concrete_function().graph.get_operations()
    assert sum(operation.type == "Pow" for operation in operations) == 2 * 2  # both betas, in both updates

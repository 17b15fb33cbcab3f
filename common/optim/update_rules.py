"""Adam and LAMB as Keras optimizers, with PyTorch's epsilon, L2 decay and LARC, which Keras' own optimizers lack.

g is the gradient (already clipped by Keras' base class), m and v its running moments, w the variable, t the number of
the update, counted from 1, and rate the learning rate:

- LARC:  g <- g * max(min(eta |w| / (rate (|g| + 1e-7)), 1), 1e-7), per tensor: the rate is only ever lowered
- L2:    g <- g + weight_decay * w          (Adam; decoupled decay is Keras' own: w <- w - rate * weight_decay * w)
- Adam:  w <- w - rate * m_hat / (sqrt(v_hat) + eps), m_hat = m / (1 - beta_1^t), v_hat = v / (1 - beta_2^t)
         eps_form "keras": eps is added to sqrt(v) instead, before the correction ("epsilon hat" in the paper)
- LAMB:  u = m_hat / (sqrt(v_hat) + eps) + weight_decay * w;  w <- w - rate * u * |w| / |u|, per tensor

Sources: Kingma and Ba, arXiv:1412.6980; You et al., arXiv:1904.00962 (LAMB), arXiv:1708.03888 (LARC, "clip" as in
the Gordon Bell code of Kurth et al., arXiv:1810.01993). tensorflow-addons' LAMB computes the same, and a test compares
the two; it is not used because it lacks clipping and is a legacy Keras optimizer, from a package at its end of life.
"""

from typing import Any, Optional

import tensorflow as tf


class _Shared:
    """Values that all variables share in an update, hidden from Keras, which would save them in checkpoints."""

    scalars: Optional[tuple] = None


class Moments(tf.keras.optimizers.Optimizer):
    """Base class of Adam and LAMB: two running moments for each variable, and LARC."""

    def __init__(
        self,
        learning_rate: Any,
        betas: tuple = (0.9, 0.999),
        epsilon: float = 1e-6,
        larc_coefficient: float = 0.0,
        **options: Any,
    ):
        """Create the optimizer.

        Args:
            learning_rate: number or schedule.
            betas: decay of the two moments.
            epsilon: added to the square root of the second moment.
            larc_coefficient: LARC's trust coefficient, eta; 0 without LARC.
            **options: options of Keras' base class (global_clipnorm, weight_decay, name).
        """
        # With a GPU, Keras would compile update_step with XLA, separately for each variable.
        fixed = {"name": type(self).__name__, "weight_decay": None, "jit_compile": False}
        super().__init__(**{**fixed, **options})
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.betas, self.epsilon, self.larc_coefficient = tuple(betas), epsilon, larc_coefficient
        self._shared = _Shared()

    def build(self, var_list):
        super().build(var_list)
        if not getattr(self, "_built", False):
            self._m = [self.add_variable_from_reference(variable, "m") for variable in var_list]
            self._v = [self.add_variable_from_reference(variable, "v") for variable in var_list]
            self._built = True

    def moments(self, variable) -> tuple[tf.Variable, tf.Variable]:
        """Return m and v of a variable, which have its shape."""
        index = self._index_dict[self._var_key(variable)]
        return self._m[index], self._v[index]

    def apply_gradients(self, *arguments, **options):
        self._shared.scalars = None
        try:
            return super().apply_gradients(*arguments, **options)
        finally:
            self._shared.scalars = None

    def update_step(self, gradient, variable):
        """Update one variable; Keras calls this for each.

        All share a few scalars, which are computed with the first variable. Computed for each of 301 variables, they
        were a third of the operations and two fifths of the time to trace them.
        """
        if self._shared.scalars is None:
            self._shared.scalars = self.scalars()
        self.update_variable(gradient, variable, *self._shared.scalars)

    def scalars(self) -> tuple:
        """Return the further arguments of `update_variable`, float32 scalars; the learning rate is the first."""
        raise NotImplementedError

    def update_variable(self, gradient, variable, *scalars) -> None:
        """Apply the update rule to one variable."""
        raise NotImplementedError

    def rate_and_powers(self) -> tuple:
        """Return learning rate, beta_1^t and beta_2^t of this update, float32."""
        step = tf.cast(self.iterations + 1, tf.float32)
        powers = (tf.pow(tf.constant(beta, tf.float32), step) for beta in self.betas)
        return (tf.cast(self.learning_rate, tf.float32), *powers)

    def _adapted(self, gradient, variable, rate):
        """Return the gradient after LARC."""
        if not self.larc_coefficient:
            return gradient
        ratio = self.larc_coefficient * tf.norm(variable) / (tf.norm(gradient) + 1e-7)
        return gradient * tf.maximum(tf.minimum(ratio / rate, 1.0), 1e-7)

    def get_config(self) -> dict:
        own = {name: getattr(self, name) for name in ("betas", "epsilon", "larc_coefficient")}
        return {**super().get_config(), "learning_rate": self._serialize_hyperparameter(self._learning_rate), **own}


class Adam(Moments):
    """Adam; AdamW with `weight_decay`; Adam with L2 decay, as in PyTorch, with `l2`."""

    def __init__(self, *arguments: Any, l2: float = 0.0, eps_form: str = "pytorch", **options: Any):
        super().__init__(*arguments, **options)
        self.l2, self.eps_form = l2, eps_form

    def scalars(self) -> tuple:
        """Return the learning rate, the factor on m, and epsilon."""
        rate, power_1, power_2 = self.rate_and_powers()
        correction = tf.sqrt(1.0 - power_2)
        epsilon = self.epsilon * (correction if self.eps_form == "pytorch" else 1.0)
        return rate, rate * correction / (1.0 - power_1), epsilon

    def update_variable(self, gradient, variable, rate, factor, epsilon):
        gradient = self._adapted(gradient, variable, rate)
        if self.l2:
            gradient = gradient + self.l2 * variable
        m, v = self.moments(variable)
        m.assign_add((gradient - m) * (1.0 - self.betas[0]))
        v.assign_add((tf.square(gradient) - v) * (1.0 - self.betas[1]))
        # Not TensorFlow's fused kernel: it rounds 1 - beta_2 in float32 and differs by 1e-5 from Keras and PyTorch.
        variable.assign_sub((m * factor) / (tf.sqrt(v) + epsilon))

    def get_config(self) -> dict:
        return {**super().get_config(), "l2": self.l2, "eps_form": self.eps_form}


class Lamb(Moments):
    """LAMB with bias correction; weight decay and the trust ratio apply to every trainable variable.

    Without weight decay there is no trust ratio and the update is Adam's, as in the reference's implementation (APEX's
    FusedLAMB with use_nvlamb off).
    """

    def __init__(self, *arguments: Any, decay: float = 0.0, **options: Any):
        super().__init__(*arguments, **options)
        self.decay = decay

    def scalars(self) -> tuple:
        """Return the learning rate and the two moments' bias corrections."""
        rate, power_1, power_2 = self.rate_and_powers()
        return rate, 1.0 - power_1, 1.0 - power_2

    def update_variable(self, gradient, variable, rate, correction_1, correction_2):
        gradient = self._adapted(gradient, variable, rate)
        m, v = self.moments(variable)
        beta_1, beta_2 = self.betas
        m.assign(beta_1 * m + (1.0 - beta_1) * gradient)
        v.assign(beta_2 * v + (1.0 - beta_2) * tf.square(gradient))
        update = (m / correction_1) / (tf.sqrt(v / correction_2) + self.epsilon) + self.decay * variable
        variable.assign_sub(rate * self._trust_ratio(variable, update) * update)

    def _trust_ratio(self, variable, update):
        if not self.decay:
            return 1.0
        weight_norm, update_norm = tf.norm(variable), tf.norm(update)
        trusted = (weight_norm > 0.0) & (update_norm > 0.0)
        return tf.where(trusted, tf.math.divide_no_nan(weight_norm, update_norm), 1.0)

    def get_config(self) -> dict:
        return {**super().get_config(), "decay": self.decay}

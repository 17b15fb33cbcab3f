"""The learning rate as a function of the update.

Steps are weight updates, counted from 1 here: step n is the n-th update. With W = lr_warmup_steps,
factor = lr_warmup_factor and target = start_lr * factor:

- warm-up, n <= W:   start_lr * n / W                            (factor 1)
                     start_lr * (1 + (factor - 1) * n / W)       (factor above 1)
- constant:          target
- multistep:         target * decay_rate ** (number of milestones that step n has reached); a milestone m is reached
                     at step m without warm-up, at step W + m + 1 with one
- cosine_annealing:  eta_min + (target - eta_min) * (1 + cos(pi * t / t_max)) / 2, t = n - max(W, 1)

Each piece begins at the same step as in the MLPerf HPC reference program, including that program's one-step differences
between pieces (tests/golden/). The plateau differs: the reference stays one warm-up step short of the target, while
this schedule and the published v3.0 result logs reach it.

Cosine: Loshchilov and Hutter, arXiv:1608.03983, without restarts.
"""

import math

import tensorflow as tf

from common.optim.settings import ScheduleSettings


class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A Keras schedule: a function of an optimizer's `iterations`, the number of updates already made."""

    def __init__(self, start_lr: float, settings: ScheduleSettings):
        self.start_lr, self.settings = start_lr, settings

    def __call__(self, iterations) -> tf.Tensor:
        settings = self.settings
        step = tf.cast(iterations, tf.float64) + 1.0
        warmup = settings.lr_warmup_steps
        target = self.start_lr * settings.lr_warmup_factor
        if settings.lr_schedule == "multistep":
            since_warmup = step - (warmup + 1 if warmup else 0)
            reached = tf.add_n([tf.cast(since_warmup >= milestone, tf.float64) for milestone in settings.milestones])
            rate = target * tf.pow(tf.constant(settings.decay_rate, tf.float64), reached)
        elif settings.lr_schedule == "cosine_annealing":
            phase = math.pi * (step - max(warmup, 1)) / settings.t_max
            rate = settings.eta_min + (target - settings.eta_min) * (1.0 + tf.cos(phase)) / 2.0
        else:
            rate = tf.constant(target, tf.float64)
        if warmup:
            rise = (
                step / warmup if settings.lr_warmup_factor == 1 else 1 + (settings.lr_warmup_factor - 1) * step / warmup
            )
            rate = tf.where(step <= warmup, self.start_lr * rise, rate)
        return tf.cast(rate, tf.float32)

    def get_config(self) -> dict:
        return {"start_lr": self.start_lr, "settings": self.settings}

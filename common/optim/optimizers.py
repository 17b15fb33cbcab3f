"""Optimizers by name, with the learning-rate schedule, global-norm clipping and loss scaling built in.

The update rules themselves, with their sources, are in common.optim.update_rules.

The optimizer clips gradients, after they were averaged over ranks: so two ranks with half of the batch each make the
same update as one rank with all of it.
Decay: Loshchilov and Hutter, arXiv:1711.05101.
"""

import math
from typing import Any, Callable

import tensorflow as tf

from common.optim.schedules import Schedule
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.optim.update_rules import Adam, Lamb

# By name: functions from the settings and the options that all optimizers share to the optimizer.
OPTIMIZERS: dict[str, Callable[[OptimizerSettings, dict], tf.keras.optimizers.Optimizer]] = {
    "Adam": lambda settings, shared: Adam(l2=settings.weight_decay, eps_form=settings.eps_form, **shared),
    "AdamW": lambda settings, shared: Adam(
        weight_decay=settings.weight_decay or None, eps_form=settings.eps_form, **shared
    ),
    "LAMB": lambda settings, shared: Lamb(decay=settings.weight_decay, **shared),
}


def scaled_learning_rate(settings: OptimizerSettings, ranks: int) -> float:
    """Return start_lr scaled with the number of ranks (Goyal et al., arXiv:1706.02677, for the linear rule)."""
    factor = {"none": 1.0, "linear": float(ranks), "sqrt": math.sqrt(ranks)}[settings.learning_rate_scaling]
    return settings.start_lr * factor


def build(
    settings: OptimizerSettings, schedule: ScheduleSettings, *, ranks: int = 1, scale_loss: bool = False
) -> tf.keras.optimizers.Optimizer:
    """Build the Keras optimizer.

    Args:
        settings: the optimizer's settings.
        schedule: settings of the learning-rate schedule.
        ranks: number with which the learning rate is scaled.
        scale_loss: use dynamic loss scaling, which float16 gradients need.
    """
    shared: dict[str, Any] = {
        "learning_rate": Schedule(scaled_learning_rate(settings, ranks), schedule),
        "betas": settings.optimizer_betas,
        "epsilon": settings.eps,
        "larc_coefficient": settings.trust_coefficient,
        "global_clipnorm": settings.clip_norm or None,
    }
    optimizer = OPTIMIZERS[settings.optimizer](settings, shared)
    return tf.keras.mixed_precision.LossScaleOptimizer(optimizer) if scale_loss else optimizer


def log_entries(settings: OptimizerSettings, schedule: ScheduleSettings, ranks: int) -> dict[str, Any]:
    """Return the settings of optimizer and schedule that apply, under the keys of MLPerf logs."""
    values: dict[str, Any] = {
        "opt_name": settings.optimizer,
        "opt_lr": scaled_learning_rate(settings, ranks),
        "learning_rate_scaling": settings.learning_rate_scaling,
        "opt_betas": list(settings.optimizer_betas),
        "opt_eps": settings.eps,
        "opt_weight_decay": settings.weight_decay,
        "opt_max_grad_norm": settings.clip_norm,
    }
    if settings.optimizer == "LAMB":
        values |= {"opt_bias_correction": True, "opt_grad_averaging": True}
    if settings.trust_coefficient:
        values |= {"opt_larc_eta": settings.trust_coefficient, "opt_larc_mode": "clip"}
    values["scheduler_type"] = schedule.lr_schedule
    if schedule.lr_schedule == "multistep":
        values |= {"scheduler_milestones": list(schedule.milestones), "scheduler_decay_rate": schedule.decay_rate}
    elif schedule.lr_schedule == "cosine_annealing":
        values |= {"scheduler_t_max": schedule.t_max, "scheduler_eta_min": schedule.eta_min}
    return {
        **values,
        "scheduler_lr_warmup_steps": schedule.lr_warmup_steps,
        "scheduler_lr_warmup_factor": schedule.lr_warmup_factor,
    }

"""Optimizers by name, with the learning-rate schedule, global-norm clipping and loss scaling built in.

The update rules themselves, with their sources, are in common.optim.update_rules.

Clipping is the optimizer's, which receives gradients that were already averaged over ranks: clipping comes after the
reduction, so that two ranks with half the batch each take the same step as one rank with the whole.
Decay: Loshchilov and Hutter, arXiv:1711.05101.
"""

import math
from typing import Literal, Optional

import tensorflow as tf
from pydantic import Field, field_validator

from common.config.settings import Settings
from common.optim.schedules import Schedule, ScheduleSettings
from common.optim.update_rules import Adam, Lamb


class OptimizerSettings(Settings):
    optimizer: Literal["Adam", "AdamW", "LAMB"] = Field("Adam", description="Adam | AdamW | LAMB")
    start_lr: float = Field(1e-3, gt=0, description="learning rate before warm-up factor and rank scaling")
    optimizer_betas: tuple[float, float] = Field(
        (0.9, 0.999), description="decay of the gradient's two running moments"
    )
    eps: float = Field(1e-7, gt=0, description="added to the root of the second moment")
    eps_form: Literal["keras", "pytorch"] = Field(
        "keras", description="Adam, AdamW: eps is added before (keras) or after (pytorch) the moment's bias correction"
    )
    weight_decay: float = Field(
        0.0, ge=0, description="Adam: L2, added to the gradient; AdamW: decoupled; LAMB: added to the update; 0 is none"
    )
    max_grad_norm: float = Field(
        0.0,
        ge=0,
        description="global gradient norm above which gradients are scaled down, after the reduction; 0 is never",
    )
    larc_eta: float = Field(
        0.0, ge=0, description="LARC: a tensor's step is kept below this share of its norm (0.002); 0 is no LARC"
    )
    larc_mode: Literal["clip", "scale"] = Field(
        "clip", description="LARC: clip only lowers a tensor's rate, scale sets it"
    )
    learning_rate_scaling: Literal["none", "linear", "sqrt"] = Field(
        "none", description="start_lr is multiplied by 1 (none), the number of ranks (linear), or its root (sqrt)"
    )

    @field_validator("optimizer_betas")
    @classmethod
    def _betas_below_one(cls, betas: tuple) -> tuple:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("both must be at least 0 and below 1")
        return betas


def scaled_learning_rate(settings: OptimizerSettings, ranks: int) -> float:
    """start_lr after scaling with the number of ranks (Goyal et al., arXiv:1706.02677, for the linear rule)."""
    factor = {"none": 1.0, "linear": float(ranks), "sqrt": math.sqrt(ranks)}[settings.learning_rate_scaling]
    return settings.start_lr * factor


def build(
    settings: OptimizerSettings, schedule: ScheduleSettings, ranks: int = 1, scale_loss: bool = False
) -> tf.keras.optimizers.Optimizer:
    """The Keras optimizer. scale_loss: dynamic loss scaling, which float16 gradients need."""
    clip: Optional[float] = settings.max_grad_norm or None
    decay = settings.weight_decay
    shared = {
        "learning_rate": Schedule(scaled_learning_rate(settings, ranks), schedule),
        "betas": settings.optimizer_betas,
        "epsilon": settings.eps,
        "larc_eta": settings.larc_eta,
        "larc_mode": settings.larc_mode,
        "global_clipnorm": clip,
    }
    if settings.optimizer == "LAMB":
        optimizer = Lamb(decay=decay, **shared)
    elif settings.optimizer == "AdamW":
        optimizer = Adam(weight_decay=decay or None, eps_form=settings.eps_form, **shared)
    else:
        optimizer = Adam(l2=decay, eps_form=settings.eps_form, **shared)
    return tf.keras.mixed_precision.LossScaleOptimizer(optimizer) if scale_loss else optimizer


def log_entries(settings: OptimizerSettings, schedule: ScheduleSettings, ranks: int) -> dict:
    """Optimizer and schedule under MLPerf's keys, those of other optimizers and schedules left out."""
    values = {
        "opt_name": settings.optimizer,
        "opt_lr": scaled_learning_rate(settings, ranks),
        "learning_rate_scaling": settings.learning_rate_scaling,
        "opt_betas": list(settings.optimizer_betas),
        "opt_eps": settings.eps,
        "opt_weight_decay": settings.weight_decay,
        "opt_max_grad_norm": settings.max_grad_norm,
    }
    if settings.optimizer == "LAMB":
        values |= {"opt_bias_correction": True, "opt_grad_averaging": True}
    if settings.larc_eta:
        values |= {"opt_larc_eta": settings.larc_eta, "opt_larc_mode": settings.larc_mode}
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

"""Optimizers by name, with the learning-rate schedule, global-norm clipping and loss scaling built in.

Clipping is the optimizer's, which receives gradients that were already averaged over ranks: clipping comes after the
reduction, so that two ranks with half the batch each take the same step as one rank with the whole.
Sources: Kingma and Ba, arXiv:1412.6980 (Adam); Loshchilov and Hutter, arXiv:1711.05101 (AdamW).
"""

import math
from typing import Literal, Optional

import tensorflow as tf
from pydantic import Field, model_validator

from common.config import Settings
from common.schedules import Schedule, ScheduleSettings


class OptimizerSettings(Settings):
    optimizer: Literal["Adam", "AdamW"] = Field("Adam", description="Adam | AdamW")
    start_lr: float = Field(1e-3, gt=0, description="learning rate before warm-up factor and rank scaling")
    optimizer_betas: tuple[float, float] = Field(
        (0.9, 0.999), description="decay of the gradient's two running moments"
    )
    eps: float = Field(1e-7, gt=0, description="added to the root of the second moment; 1e-7 is Keras' default")
    weight_decay: float = Field(0.0, ge=0, description="AdamW: decoupled weight decay per update; 0 is none")
    max_grad_norm: float = Field(
        0.0,
        ge=0,
        description="global gradient norm above which gradients are scaled down, after the reduction; 0 is never",
    )
    learning_rate_scaling: Literal["none", "linear", "sqrt"] = Field(
        "none", description="start_lr is multiplied by 1 (none), the number of ranks (linear), or its root (sqrt)"
    )

    @model_validator(mode="after")
    def _decay_needs_adamw(self):
        if self.weight_decay and self.optimizer != "AdamW":
            raise ValueError(f"weight_decay {self.weight_decay} needs optimizer: AdamW, Adam has none")
        return self


def scaled_learning_rate(settings: OptimizerSettings, ranks: int) -> float:
    """start_lr after scaling with the number of ranks (Goyal et al., arXiv:1706.02677, for the linear rule)."""
    factor = {"none": 1.0, "linear": float(ranks), "sqrt": math.sqrt(ranks)}[settings.learning_rate_scaling]
    return settings.start_lr * factor


def build(
    settings: OptimizerSettings, schedule: ScheduleSettings, ranks: int = 1, scale_loss: bool = False
) -> tf.keras.optimizers.Optimizer:
    """The Keras optimizer. scale_loss: dynamic loss scaling, which float16 gradients need."""
    clip: Optional[float] = settings.max_grad_norm or None
    shared = {
        "learning_rate": Schedule(scaled_learning_rate(settings, ranks), schedule),
        "beta_1": settings.optimizer_betas[0],
        "beta_2": settings.optimizer_betas[1],
        "epsilon": settings.eps,
        "global_clipnorm": clip,
    }
    if settings.optimizer == "AdamW":
        optimizer = tf.keras.optimizers.AdamW(weight_decay=settings.weight_decay, **shared)
    else:
        optimizer = tf.keras.optimizers.Adam(**shared)
    return tf.keras.mixed_precision.LossScaleOptimizer(optimizer) if scale_loss else optimizer

"""Settings of the optimizer and of the learning-rate schedule."""

from typing import ClassVar, Literal, Optional

from pydantic import Field, field_validator, model_validator

from common.config.settings import Settings


class OptimizerSettings(Settings):
    """Settings of the optimizer.

    Attributes:
        eps_form: whether Adam and AdamW add eps before the second moment's bias correction (keras) or after it
            (pytorch).
    """

    eps_form: ClassVar[Literal["keras", "pytorch"]] = "keras"

    optimizer: Literal["Adam", "AdamW", "LAMB"] = Field("Adam", description="Adam | AdamW | LAMB")
    start_lr: float = Field(1e-3, gt=0, description="learning rate before warm-up factor and rank scaling")
    optimizer_betas: tuple[float, float] = Field(
        (0.9, 0.999), description="decay of the gradient's two running moments"
    )
    eps: float = Field(1e-7, gt=0, description="added to the square root of the second moment")
    weight_decay: float = Field(
        0.0, ge=0, description="Adam: L2, added to the gradient; AdamW: decoupled; LAMB: added to the update; 0 is none"
    )
    max_grad_norm: Optional[float] = Field(
        None,
        ge=0,
        description="global norm to which larger gradients are scaled down, after the reduction over ranks; 0: never; "
        "null: as the reference, 1 for LAMB and never for the others",
    )
    learning_rate_scaling: Literal["none", "linear", "sqrt"] = Field(
        "none",
        description="start_lr is multiplied by 1 (none), the number of ranks (linear), or its square root (sqrt)",
    )

    @property
    def trust_coefficient(self) -> float:
        """LARC's trust coefficient; 0 without LARC."""
        return 0.0

    @property
    def clip_norm(self) -> float:
        """max_grad_norm with its default resolved; 0 without clipping."""
        if self.max_grad_norm is not None:
            return self.max_grad_norm
        return 1.0 if self.optimizer == "LAMB" else 0.0

    @field_validator("optimizer_betas")
    @classmethod
    def _betas_below_one(cls, betas: tuple) -> tuple:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("both must be at least 0 and below 1")
        return betas


class ScheduleSettings(Settings):
    """Settings of the learning-rate schedule; common.optim.schedules has the formulas."""

    lr_schedule: Literal["constant", "multistep", "cosine_annealing"] = Field(
        "constant", description="shape of the learning rate after warm-up: constant | multistep | cosine_annealing"
    )
    milestones: tuple[int, ...] = Field((), description="multistep: updates after warm-up at which the rate drops")
    decay_rate: float = Field(0.1, gt=0, le=1, description="multistep: factor applied at each milestone")
    t_max: int = Field(9600, gt=0, description="cosine_annealing: updates from the target to eta_min")
    eta_min: float = Field(0.0, ge=0, description="cosine_annealing: lowest learning rate")
    lr_warmup_steps: int = Field(0, ge=0, description="updates of linear warm-up; 0: no warm-up")
    lr_warmup_factor: float = Field(
        1.0,
        ge=1,
        description="warm-up rises to start_lr times this; from 0 if it is 1, otherwise from start_lr",
    )

    @model_validator(mode="after")
    def _milestones_rise(self):
        if any(later <= earlier for earlier, later in zip((0, *self.milestones), self.milestones)):
            raise ValueError(f"milestones must be positive and increasing, found {list(self.milestones)}")
        if self.lr_schedule == "multistep" and not self.milestones:
            raise ValueError("lr_schedule: multistep needs milestones")
        return self

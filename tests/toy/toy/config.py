"""Settings of the toy benchmark."""

from typing import Literal, Optional

from pydantic import Field

from common.config import settings as config
from common.config.settings import MAY_CHANGE, Recipe, Settings
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.runs.settings import OutputSettings, SubmissionSettings
from common.training.settings import TrainingSettings


class DataSettings(Settings):
    folder: str = Field("", description="folder of x*.npy, [8, 8] each")


class ToyTrainingSettings(TrainingSettings):
    local_batch_size: int = Field(2, gt=0, description="samples in one forward pass of one rank")
    passes: int = Field(3, gt=0, description="passes over the data", json_schema_extra=MAY_CHANGE)


class Config(Recipe):
    benchmark: Literal["toy"] = "toy"
    data: DataSettings = DataSettings()
    training: ToyTrainingSettings = ToyTrainingSettings()
    optimizer: OptimizerSettings = OptimizerSettings(start_lr=0.05)
    schedule: ScheduleSettings = ScheduleSettings()
    submission: SubmissionSettings = SubmissionSettings()
    output: OutputSettings = OutputSettings()


def load(path: Optional[str] = None, overrides: Optional[list] = None) -> Config:
    return config.load(Config, path, overrides)

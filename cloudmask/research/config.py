"""Settings of `study` and `cluster`: the benchmark's, and a section for each of the two."""

from typing import ClassVar, Literal, Optional

from pydantic import Field

from cloudmask.config import Config, LabelError, LossName, translate_reference
from common.config import settings as config
from common.config.settings import Settings
from common.keras.names import Precision


class StudySettings(Settings):
    """What `study` trains: every network with every loss, label error and seed; scenes and runs stay as they are."""

    networks: tuple[str, ...] = Field(("narrow",), min_length=1, description="values of model.network")
    losses: tuple[LossName, ...] = Field(("bce",), min_length=1, description="values of loss.loss")
    label_errors: tuple[LabelError, ...] = Field(
        (0.1,), min_length=1, description="shares of labels that are wrong; scenes go to a folder for each"
    )
    scenes_folder: str = Field("", description="where the study's scenes go; those that are there are kept")
    scenes: int = Field(16, gt=0, description="synthetic scenes to train on and to hold out")
    form: Literal["dataset", "small", "sen3"] = Field("small", description="of the scenes, as `synthesize` has them")
    scenes_seed: int = Field(0, ge=0, le=2**32 - 1, description="scene n depends on (scenes_seed, n) only")
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1, description="values of training.seed, for the spread")
    precisions: tuple[Precision, ...] = Field(
        ("float32",), min_length=1, description="values of inference.precision that each trained network is scored in"
    )
    at_once: int = Field(2, gt=0, description="runs at a time, which share the cores out evenly")
    timings: int = Field(
        0, ge=0, description="passes over a scene of 1200 x 1500 that each network is timed on, in turn; 0 times none"
    )


class ClusterSettings(Settings):
    """What `cluster` does without labels."""

    seed: int = Field(0, ge=0, le=2**32 - 1, description="of the network's weights and of the patches drawn")
    cold_kelvin: float = Field(265.0, gt=0, description="S8 below this is cold: cloud")
    bright: float = Field(
        0.3, gt=0, description="S1 and S5 both above this reflectance are bright: cloud, as snow is dark in S5"
    )
    margin: float = Field(
        0.3, gt=0, description="self-training: how sure the rule has to be, in units of normalised values (22 K, 1)"
    )
    network: str = Field("narrow", description="self-training: the network that learns from the rule's sure pixels")
    rounds: int = Field(
        2, ge=1, description="self-training: trainings, each after the first on its predecessor's sure pixels"
    )
    updates: int = Field(200, ge=1, description="self-training: weight updates of a round")
    sure: float = Field(0.9, gt=0.5, lt=1, description="self-training: probability from which a prediction is a label")


class ResearchConfig(Config):
    gone: ClassVar[dict[str, str]] = {
        **{name: text for name, text in Config.gone.items() if name not in ("study", "cluster")},
        "synthesize": "is no longer a section: a study's scenes are study.scenes_folder, scenes, form and scenes_seed",
    }

    study: StudySettings = StudySettings()
    cluster: ClusterSettings = ClusterSettings()


def load(path: Optional[str] = None, overrides: Optional[list] = None) -> ResearchConfig:
    """Load the settings of a YAML file with key=value overrides.

    Raises:
        UserError: if a setting is unknown or has a value that it may not have.
    """
    return config.load(ResearchConfig, path, overrides, translate_reference)

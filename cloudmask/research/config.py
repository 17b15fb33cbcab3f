"""Settings of the commands `study` and `cluster`: the benchmark's, with a section for each of the two."""

from typing import ClassVar, Literal, Optional

from pydantic import Field, field_validator

from cloudmask import reference_settings
from cloudmask.config import Config, LabelError, LossName, NetworkName
from common.config import settings as config
from common.config.settings import Settings
from common.keras.names import Precision


def percent(share: float) -> str:
    """A share in percent, as names of runs and folders have it."""
    return f"{100 * share + 0.0:g}"  # -0.0 is 0


class StudySettings(Settings):
    """What `study` trains: every network with every loss, label error and seed. Existing scenes and runs are kept."""

    networks: tuple[NetworkName, ...] = Field(("narrow",), min_length=1, description="values of model.network")
    losses: tuple[LossName, ...] = Field(("bce",), min_length=1, description="values of loss.loss")
    label_errors: tuple[LabelError, ...] = Field(
        (0.1,), min_length=1, description="shares of labels that are wrong; the scenes of each have their own folder"
    )
    scenes_folder: str = Field("", description="where the study's scenes go; existing scenes are kept")
    scenes: int = Field(16, gt=0, description="synthetic scenes, to train on and to hold out")
    form: Literal["dataset", "small", "sen3"] = Field(
        "small", description="form of the scenes, as in `synthesize --form`"
    )
    scenes_seed: int = Field(0, ge=0, le=2**32 - 1, description="scene n depends only on (scenes_seed, n)")
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1, description="values of training.seed, for the spread")
    precisions: tuple[Precision, ...] = Field(
        ("float32",), min_length=1, description="values of inference.precision that each trained network is scored in"
    )
    at_once: int = Field(2, gt=0, description="runs at a time; each gets an equal share of the cores")
    timings: int = Field(
        0, ge=0, description="timed passes of each network over a scene of 1200 x 1500 pixels; 0: no timing"
    )

    @field_validator("networks", "losses", "label_errors", "seeds", "precisions")
    @classmethod
    def _each_once(cls, values: tuple) -> tuple:
        """Refuse values that are equal, or that names of runs and folders, which round them, do not tell apart."""
        names = [percent(value) if isinstance(value, float) else str(value) for value in values]
        twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
        if twice is not None:
            pair = [str(value) for name, value in zip(names, values) if name == twice]
            raise ValueError(f"names {pair[0]} and {pair[1]}, which would be the same runs: give each value once")
        return values


class ClusterSettings(Settings):
    """How `cluster` learns without labels."""

    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of the network's weights and of the choice of patches")
    cold_kelvin: float = Field(265.0, gt=0, description="a pixel with S8 below this is cold, and so cloud")
    bright: float = Field(
        0.3,
        gt=0,
        description="a pixel with reflectances S1 and S5 both above this is bright, and so cloud; snow is dark in S5",
    )
    margin: float = Field(
        0.3,
        gt=0,
        description="self-training: distance from the rule's thresholds beyond which it is sure, in units of 22 K and "
        "of `bright`",
    )
    network: NetworkName = Field(
        "narrow", description="self-training: the network that learns from the rule's sure pixels"
    )
    rounds: int = Field(
        2,
        ge=1,
        description="self-training: trainings; each after the first learns from the sure pixels of the one before",
    )
    updates: int = Field(200, ge=1, description="self-training: weight updates in each round")
    sure: float = Field(
        0.9, gt=0.5, lt=1, description="self-training: probability above which a prediction becomes a label"
    )


class ResearchConfig(Config):
    """The benchmark's settings with those of `study` and `cluster`."""

    gone: ClassVar[dict[str, str]] = {
        **{name: text for name, text in Config.gone.items() if name not in ("study", "cluster")},
        "synthesize": "is no longer a section: a study's scenes are study.scenes_folder, scenes, form and scenes_seed",
    }

    study: StudySettings = StudySettings()
    cluster: ClusterSettings = ClusterSettings()


def load(path: Optional[str] = None, overrides: Optional[list] = None) -> ResearchConfig:
    """Load the settings of a YAML file with key=value overrides.

    Raises:
        UserError: if a setting is unknown or its value is not allowed.
    """
    return config.load(ResearchConfig, path, overrides, reference_settings.translate)

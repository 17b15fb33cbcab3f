"""Settings of what goes beyond the benchmark: made-up scenes, losses for wrong labels, studies, no labels at all."""

from typing import Annotated, Literal

from pydantic import Field

from common.config.settings import Settings
from common.training.settings import Precision

LossName = Literal["bce", "symmetric"]
LabelError = Annotated[float, Field(ge=0, lt=0.5)]  # share of labels that are wrong


class LossSettings(Settings):
    loss: LossName = Field(
        "bce",
        description="what training minimises: bce = the reference program's | symmetric = for labels that may be wrong",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label replaced by 0.5; the reference: 0")


class SynthesizeSettings(Settings):
    form: Literal["dataset", "small", "sen3"] = Field(
        "dataset",
        description="dataset = the benchmark's own files, 180 MB a scene | small = float32 with NaN, 67 MB | sen3 = "
        "Sentinel-3 products",
    )
    scenes: int = Field(16, gt=0, description="scenes to make")
    folder: str = Field("", description="where to write them; existing files are left as they are")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="scene n depends on (seed, n) only")
    label_error: LabelError = Field(
        0.1,
        description="share of the labels `bayes` that differ from `truth`, mostly where operational masks err; that a "
        "tenth does is an assumption",
    )


class StudySettings(Settings):
    """What `study` trains: every network with every loss, label error and seed; scenes and runs stay as they are."""

    networks: tuple[str, ...] = Field(("narrow",), min_length=1, description="values of model.network")
    losses: tuple[LossName, ...] = Field(("bce",), min_length=1, description="values of loss.loss")
    label_errors: tuple[LabelError, ...] = Field(
        (0.1,), min_length=1, description="values of synthesize.label_error; scenes go to a folder for each"
    )
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

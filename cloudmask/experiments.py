"""Settings of what goes beyond the benchmark: made-up scenes, losses for wrong labels, studies, no labels at all."""

from typing import Annotated, Literal

from pydantic import Field

from common.config.settings import Settings
from common.training.settings import Precision

LossName = Literal["bce", "symmetric", "generalized", "bootstrap", "focal"]
LabelError = Annotated[float, Field(ge=0, lt=0.5)]  # share of labels that are wrong


class LossSettings(Settings):
    """Defaults of each loss are its paper's (cloudmask.losses)."""

    loss: LossName = Field(
        "bce",
        description="what training minimises: bce = as the reference program; for labels that may be wrong symmetric | "
        "generalized | bootstrap | focal",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label replaced by 0.5; the reference: 0")
    symmetric_alpha: float = Field(0.1, ge=0, description="symmetric: weight of the cross entropy (paper's CIFAR-10)")
    symmetric_beta: float = Field(1.0, ge=0, description="symmetric: weight of the reverse cross entropy")
    symmetric_log_zero: float = Field(-4.0, lt=0, description="symmetric: what stands for log 0 in the reverse one")
    generalized_q: float = Field(0.7, gt=0, le=1, description="generalized: the exponent; 1 is mean absolute error")
    bootstrap_beta: float = Field(0.95, ge=0, le=1, description="bootstrap: share of the label; the rest is prediction")
    focal_gamma: float = Field(2.0, ge=0, description="focal: exponent by which sure pixels lose weight")
    focal_alpha: float = Field(0.25, gt=0, lt=1, description="focal: weight of cloud; clear sky has the rest to 1")


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

    clusters: int = Field(32, ge=2, le=1000, description="clusters of the k-means")
    pixels: int = Field(200_000, ge=1000, description="pixels, drawn from the training scenes, that they are fitted on")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of the pixels drawn, the clusters and the network")
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

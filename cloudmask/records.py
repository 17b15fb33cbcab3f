"""The records that CloudMask adds to a run's metrics.jsonl (common.runs.kinds)."""

from dataclasses import dataclass, field
from typing import Any, Optional

from common.runs.kinds import INLINE, Numbers, Record, parse

Masks = dict[str, Numbers]  # scores by mask: network, baseline, summary, labels, those of others
Strata = dict[str, Masks]  # the same by kind of pixel


@dataclass(frozen=True)
class Baseline(Record):
    """The fitted threshold baseline (cloudmask.baseline.Threshold). rule: the same in words."""

    kind = "baseline"
    rule: str
    channel: int
    value: float
    cloud_above: bool
    training_accuracy: float


@dataclass(frozen=True)
class Scene(Record):
    """One scene of an inference.

    Args:
        name: of the scene's file.
        read: seconds of reading; likewise `compute` and `write`.
        error: why it has no mask; empty if it has one.
        disagreement: of network and labels (cloudmask.scoring.Scores.disagreement).
        scores: the network's, if there are labels.
    """

    kind = "scene"
    name: str
    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0
    error: str = ""
    disagreement: dict[str, Any] = field(default_factory=dict)
    scores: Numbers = field(default_factory=dict, metadata=INLINE)


@dataclass(frozen=True)
class Truth(Record):
    """Scores of the masks and of the labels against the truth, which synthetic scenes have; part of an Inference."""

    kind = "truth"
    scores: Masks = field(default_factory=dict)
    strata: Strata = field(default_factory=dict)


@dataclass(frozen=True)
class Inference(Record):
    """An inference over all scenes and ranks.

    Args:
        inferences: scenes that were masked.
        failed: names of the scenes that were not.
        runs: timed passes over all scenes.
        seconds: of a pass, the median over `runs`.
        read: statistics of the seconds of a scene (common.measuring.timing.summary); likewise `compute` and `write`.
        rank_seconds: of the last pass, by rank.
        scores: against the labels, by mask; empty without labels. `strata`: the same by kind of pixel.
        scene_means: means over scenes of the network's scores.
        calibration: cloudmask.scoring.Scores.calibration_curve.
        truth: the fields of a Truth; empty where it is not known.
        rule: the threshold baseline in words.
        shares: of the pixels that count, those that masks of others have, by mask.
    """

    kind = "inference"
    mode: str
    precision: str
    tf32: bool
    ranks: int
    inferences: int
    failed: list[str]
    runs: int
    seconds: float
    time_per_inference: float
    scenes_per_second: float
    megapixels_per_second: float
    read: Numbers = field(default_factory=dict)
    compute: Numbers = field(default_factory=dict)
    write: Numbers = field(default_factory=dict)
    rank_seconds: list[float] = field(default_factory=list)
    scores: Masks = field(default_factory=dict)
    strata: Strata = field(default_factory=dict)
    scene_means: Numbers = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    rule: str = ""
    shares: Numbers = field(default_factory=dict)

    def against_truth(self) -> Optional[Truth]:
        """The scores against the truth; None if it is not known for any scene."""
        return parse(Truth, self.truth) if self.truth else None


@dataclass(frozen=True)
class Cluster(Record):
    """Masks made without labels. scores: by mask, then by judge (labels, truth)."""

    kind = "cluster"
    scores: Strata

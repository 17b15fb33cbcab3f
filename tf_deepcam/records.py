"""The records that DeepCAM adds to a run's metrics.jsonl (common.runs.kinds)."""

from dataclasses import dataclass, field
from typing import Optional

from common.runs.kinds import Numbers, Record


@dataclass(frozen=True)
class Skipped(Record):
    """A sample that was left out (data.on_bad_sample: skip). why: the error in one line."""

    kind = "skipped"
    file: str
    why: str


@dataclass(frozen=True)
class Staged(Record):
    """The staged samples of all ranks, copied to node-local folders."""

    kind = "staging"
    files: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class ReferenceCheckpoint(Record):
    """The run continues from a checkpoint of the reference program, after its update `step`."""

    kind = "reference_checkpoint"
    step: int
    file: str


@dataclass(frozen=True)
class Inference(Record):
    """A result of the inference benchmark.

    Attributes:
        samples: number of samples in the data set.
        seconds, samples_per_second, gigabytes_per_second: mean, median, standard deviation and 95th percentile over
            the passes.
        iou: None if it was not computed.
    """

    kind = "inference"
    mode: str
    precision: str
    tf32: bool
    ranks: int
    samples: int
    batch_size: int
    seconds: Numbers = field(default_factory=dict)
    samples_per_second: Numbers = field(default_factory=dict)
    gigabytes_per_second: Numbers = field(default_factory=dict)
    iou: Optional[float] = None

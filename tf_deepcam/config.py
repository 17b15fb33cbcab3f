"""Settings of the DeepCAM benchmark. Names are the reference program's command-line options where it has one.

`rules` names those under which the result is handed in (tf_deepcam.rules).
"""

from operator import attrgetter
from typing import Any, ClassVar, Literal, Optional

from pydantic import Field, field_validator, model_validator

from common.config import settings as config
from common.config.settings import MAY_CHANGE, Recipe, Settings, refusal
from common.data.cache import CacheSettings
from common.keras.names import TF32_IS_A_PRECISION, Precision
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.runs.settings import OutputSettings, SubmissionSettings
from common.training.settings import TrainingSettings
from tf_deepcam.rules import RuleSet, broken, fill_in

CHANNELS = 16  # in a file


class DataSettings(CacheSettings):
    data_dir_prefix: str = Field("", description="folder that holds train/, validation/ and stats.h5")
    channels: tuple[int, ...] = Field(
        tuple(range(CHANNELS)), min_length=1, description="channels used, by their place in the files, from 0"
    )
    max_inter_threads: int = Field(
        0, ge=0, le=4096, description="samples read at once by a rank; 0 takes the compute threads"
    )

    on_bad_sample: Literal["stop", "skip"] = Field(
        "stop",
        description="at NaN or unreadable samples: stop | skip (all are read once at the start, bad ones left out)",
    )
    stage_dir: str = Field(
        "", description="node-local folder to which each rank's share is copied before training; empty is no staging"
    )
    stage_dtype: Literal["float16", "float32"] = Field(
        "float16", description="type of staged fields; the network computes in training.precision whatever it is"
    )
    stage_copies: int = Field(
        1,
        gt=0,
        description="neighbouring ranks that hold the same staged samples and share them out anew in every epoch",
    )

    @field_validator("channels")
    @classmethod
    def _channels_exist(cls, channels: tuple) -> tuple:
        if len(set(channels)) < len(channels) or not all(0 <= number < CHANNELS for number in channels):
            raise ValueError(f"must be different numbers from 0 to {CHANNELS - 1}")
        return channels


class ModelSettings(Settings):
    output_stride: Literal[8, 16] = Field(16, description="the encoder's reduction of height and width: 16 | 8")
    width: float = Field(
        1.0, gt=0, le=4, description="factor on all inner channel numbers; 1 is the benchmark's network"
    )
    middle_blocks: int = Field(
        16, ge=1, le=16, description="equal blocks in the network's middle; 16 is the benchmark's network"
    )
    checkpoint: str = Field(
        "",
        description="weights to start from, by the reference's names: .cpt, .pth (needs PyTorch), .npz, .safetensors",
    )
    checkpoint_resumes: bool = Field(
        False,
        description="continue from checkpoint, a .cpt of the reference, with its optimizer state, step and epoch",
    )

    @model_validator(mode="after")
    def _resumes_from_something(self):
        if self.checkpoint_resumes and not self.checkpoint.endswith((".cpt", ".pth")):
            raise ValueError(f"checkpoint_resumes needs checkpoint, a .cpt of the reference; found '{self.checkpoint}'")
        return self

    def form(self) -> dict[str, Any]:
        """What tf_deepcam.network.deeplab builds a network by."""
        return {"output_stride": self.output_stride, "width": self.width, "middle_blocks": self.middle_blocks}


class LossSettings(Settings):
    loss: Literal["weighted", "focal", "false_positive"] = Field(
        "weighted", description="weighted cross entropy | focal | with weights on false positives"
    )
    loss_weight_pow: float = Field(-0.125, description="class weights are class frequency to this power")
    fpw_1: float = Field(0.0, ge=0, description="false_positive: added weight of a false tropical cyclone")
    fpw_2: float = Field(0.0, ge=0, description="false_positive: added weight of a false atmospheric river")


NO_EXCHANGE_IN_XLA = "cannot go with xla: ranks exchange statistics within the pass that XLA compiles; set one of them"


class DeepcamTrainingSettings(TrainingSettings):
    max_epochs: int = Field(30, gt=0, description="passes over the training data at most", json_schema_extra=MAY_CHANGE)
    target_iou: float = Field(0.82, ge=0, le=1, description="stop when the validation IoU reaches this; 0 is never")
    local_batch_size: int = Field(
        1, gt=0, description="samples in one forward pass of one rank; the global batch is this x accumulation x ranks"
    )
    seed: int = Field(333, gt=0, le=2**32 - 1, description="of initial weights and data order")
    batchnorm_group_size: int = Field(
        0,
        ge=0,
        description="ranks that share batch statistics, neighbours by number; 0 follows from samples_per_statistic",
    )
    samples_per_statistic: int = Field(
        0, ge=0, description="samples over which batch statistics are taken, if local_batch_size is smaller; 0 is its"
    )

    @model_validator(mode="after")
    def _groups_are_not_compiled(self):
        """Where the group follows from the ranks, tf_deepcam.batch_statistics refuses it."""
        if self.xla and self.batchnorm_group_size > 1:
            raise ValueError(f"batchnorm_group_size {self.batchnorm_group_size} {NO_EXCHANGE_IN_XLA}")
        return self


class DeepcamOptimizerSettings(OptimizerSettings):
    eps_form: ClassVar[Literal["keras", "pytorch"]] = "pytorch"

    eps: float = Field(1e-6, gt=0, description="added to the square root of the second moment")
    weight_decay: float = Field(
        1e-6,
        ge=0,
        description="Adam: L2, added to the gradient; AdamW: decoupled; LAMB: added to the update; 0 is none",
    )
    larc_eta: float = Field(
        0.0, ge=0, description="LARC: a tensor's step is kept below this share of its norm (0.002); 0 is no LARC"
    )

    @property
    def trust_coefficient(self) -> float:
        return self.larc_eta


class InferenceSettings(Settings):
    mode: Literal["inference", "io"] = Field("inference", description="inference | io: read and preprocess only")
    data_dirs: tuple[str, ...] = Field(
        (), description="folders of samples: data-*.h5, data-*.npy (`convert`), or staged ones"
    )
    stats: str = Field("", description="stats.h5; empty looks into data_dirs and the folders above them")
    model_file: str = Field(
        "", description="network: .keras, a run's folder (its best checkpoint), .cpt, .pth, .npz or .safetensors"
    )
    num_warmup_runs: int = Field(1, ge=0, description="passes over the data before the measured ones")
    num_runs: int = Field(3, gt=0, description="measured passes over the data")
    batch_size: int = Field(1, gt=0, description="samples of one forward pass over all ranks, shared out evenly")
    max_inter_threads: int = Field(1, gt=0, le=4096, description="batches at once on a rank, read and computed")
    max_intra_threads: int = Field(0, ge=0, le=4096, description="threads within a batch; 0 takes `threads`")
    precision: Precision = Field("float32", description="arithmetic: float32 | tf32 | mixed_bfloat16 | mixed_float16")
    xla: bool = Field(False, description="compile the forward pass with XLA")
    enable_trt: bool = Field(False, description="compile the forward pass with TensorRT (NVIDIA GPUs)")
    trt_model_dir: str = Field("", description="enable_trt: folder in which compiled engines are kept")
    reader: Literal["tfdata", "dali"] = Field("tfdata", description="tfdata | dali: NVIDIA DALI, for .npy samples")
    score: bool = Field(True, description="one more pass for the IoU, where samples have labels")
    predictions: Literal["none", "labels", "logits"] = Field(
        "none", description="written in that pass: none | labels (uint8) | logits (float16), a .npy file a sample"
    )
    outputfile: str = Field("", description="also write the result there, as .json and .csv; not over other files")


SYNTHESIZE = "python -m tf_deepcam synthesize --folder DIR --train 8 --validation 2"


class Config(Recipe):
    gone: ClassVar[dict[str, str]] = {
        "optimizer.eps_form": "is fixed: eps is added after the bias correction, as PyTorch does",
        "optimizer.larc_mode": "is fixed: LARC only lowers a tensor's rate (clip)",
        "loss.focal_gamma": "is fixed at 2, ClimDeepLearn's",
        **TF32_IS_A_PRECISION,
        "inference.grid": "is no section: python -m tf_deepcam grid --axis inference.max_inter_threads=1,2 --ranks 1",
        "synthesize": f"is no section: samples are made by {SYNTHESIZE}",
    }

    benchmark: Literal["deepcam"] = Field("deepcam", description="which benchmark this file is for")
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    training: DeepcamTrainingSettings = DeepcamTrainingSettings()
    optimizer: DeepcamOptimizerSettings = DeepcamOptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    inference: InferenceSettings = InferenceSettings()
    submission: SubmissionSettings = SubmissionSettings()
    output: OutputSettings = OutputSettings()
    rules: RuleSet = Field(
        "free",
        description="whose rules give defaults and refuse other values: free | mlperf_closed | esif_baseline | "
        "esif_ported | esif_optimized | nersc10",
    )
    pictures: int = Field(
        4, ge=0, description="validation samples of which a picture (fields, truth, prediction) is made"
    )
    threads: int = Field(
        0, ge=0, le=4096, description="compute threads per rank; 0 shares the node's cores out over its ranks"
    )

    @classmethod
    def complete(cls, tree: dict) -> dict:
        return fill_in(tree)

    @model_validator(mode="after")
    def _rules_are_kept(self):
        for name, why in broken(self.rules, lambda name: attrgetter(name)(self)):
            raise refusal(name, why, attrgetter(name)(self))
        return self


def load(path: Optional[str] = None, overrides: Optional[list] = None) -> Config:
    """The settings of a YAML file with key=value overrides. Raises UserError."""
    return config.load(Config, path, overrides)

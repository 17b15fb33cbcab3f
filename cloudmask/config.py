"""Settings of the CloudMask benchmark.

They carry the reference's names, in lower case, where it has one (MLCommons Science,
benchmarks/cloudmask/cloudMaskConfig.yaml). Its own file is accepted unchanged (cloudmask.reference_settings).
"""

from typing import Annotated, ClassVar, Literal, Optional

from pydantic import Field, field_validator, model_validator

from cloudmask import reference_settings
from cloudmask.sen3 import Calibration, Conversion, Stripe
from common.config import settings as config
from common.config.settings import MAY_CHANGE, Recipe, Settings, refusal
from common.data.cache import CacheSettings
from common.keras.names import TF32_IS_A_PRECISION, Precision
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.runs.settings import OutputSettings, SubmissionSettings
from common.training.settings import TrainingSettings

MaskForm = Literal["reference", "netcdf", "geotiff", "quicklook"]
LossName = Literal["bce", "symmetric"]
NetworkName = Literal["reference", "narrow", "pixel"]  # those of cloudmask.network.networks, which loads TensorFlow
LabelError = Annotated[float, Field(ge=0, lt=0.5)]  # share of labels that are wrong

SYNTHESIZE = "python -m cloudmask synthesize --folder DIR --scenes 16 --form dataset"


class DataSettings(CacheSettings):
    train_dir: str = Field(
        "", description="folder of training scenes: files S3A*.hdf (S3B to S3D) or Sentinel-3 products, at any depth"
    )
    train_split: float = Field(0.8, gt=0, lt=1, description="share of the scenes to train on; the rest is held out")
    split_seed: int = Field(
        42, ge=0, le=2**32 - 1, description="random_state of sklearn's train_test_split; the reference fixes 42"
    )
    max_scenes: int = Field(0, ge=0, description="use only the first N scenes by name; 0 is all (the reference: 63)")
    image_h: int = Field(1200, gt=0, description="scene height, pixels of the 1 km grid")
    image_w: int = Field(1500, gt=0, description="scene width, pixels of the 1 km grid")
    patch_size: int = Field(
        256, gt=0, multiple_of=8, description="edge of a training patch and of a reference tile, pixels"
    )
    missing: Literal["mask", "reference"] = Field(
        "mask",
        description="what to do where nothing was measured: mask = set to 0 after normalisation, and neither train on, "
        "score nor mask pixels without any temperature | reference = take every pixel as it comes, as the reference "
        "program does",
    )
    reflectance_range: tuple[float, float] = Field(
        (-1.0, 10.0),
        description="with missing: mask, reflectances outside this range are taken as missing, as are NaN and 0 in all "
        "six; near the terminator noise is divided by almost no sunlight, and 10 is more than any cloud reflects",
    )
    temperature_range_kelvin: tuple[float, float] = Field(
        (100.0, 400.0),
        description="brightness temperatures outside this range, such as 0 K, are taken as missing, as is NaN",
    )
    labels: Literal["bayes", "summary", "cloud"] = Field(
        "bayes",
        description="which mask is the label, to train on and to score against: bayes = the Bayesian mask | summary = "
        "the operational summary mask | cloud = tests of the operational mask (cloud_in). A scene that lacks it is "
        "masked but not scored, and refused in training; products in Zarr have no Bayesian mask",
    )
    cloud_tests: tuple[str, ...] = Field(
        (),
        description="with labels: cloud, the tests of which any one makes a pixel cloud, such as [gross_cloud, "
        "thin_cirrus]; empty takes all",
    )
    calibration: Calibration = Field(
        "notice",
        description="sen3: physical: notice = EUMETSAT's factors for baselines before 005 (S3.PN-SLSTR-L1.08, .10) | "
        "none | six factors on the radiances S1 to S6",
    )
    stripe: Stripe = Field(
        "a",
        description="which detectors' S4 to S6 are taken of a product: a, as the benchmark's data were made | b. Both "
        "rows of detectors measure these channels; S1 to S3 have stripe a alone",
    )
    sen3: Conversion = Field(
        "dataset",
        description="how Sentinel-3 products become scenes: dataset = as the benchmark's data were made | "
        "dataset_last_row = as an earlier version of its converter made them, with the last row's sun in every row | "
        "physical = the measurements themselves (docs/reference/cloudmask.md)",
    )

    @field_validator("reflectance_range", "temperature_range_kelvin")
    @classmethod
    def _lowest_first(cls, valid: tuple[float, float]) -> tuple[float, float]:
        if not valid[0] < valid[1]:
            raise ValueError("must be [lowest, highest], the lowest below the highest")
        return valid

    @model_validator(mode="after")
    def _patch_fits(self):
        if self.patch_size > min(self.image_h, self.image_w):
            raise ValueError(f"patch_size {self.patch_size} does not fit a scene of {self.image_h} x {self.image_w}")
        return self


class ModelSettings(Settings):
    network: NetworkName = Field(
        "reference", description="a network of cloudmask.network.networks: reference | narrow | pixel"
    )


class LossSettings(Settings):
    loss: LossName = Field(
        "bce",
        description="what training minimises: bce = the reference program's | symmetric = for labels that may be wrong",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label replaced by 0.5; the reference: 0")


class CloudTrainingSettings(TrainingSettings):
    epochs: int = Field(30, gt=0, description="passes over the training data", json_schema_extra=MAY_CHANGE)
    target: float = Field(0.0, ge=0, description="stop when the held-out pixel accuracy reaches this; 0: never")


class InferenceSettings(Settings):
    inference_dir: str = Field(
        "", description="folder of scenes to mask, at any depth, or one scene or product; empty takes train_dir"
    )
    only_held_out: bool = Field(
        False, description="mask only the held-out part of the split, to score on unseen scenes"
    )
    model_file: str = Field(
        "",
        description="network to use: .keras, .h5 (the reference's too), a SavedModel folder or a run's folder. The "
        "network, data.missing, ranges, sen3, calibration, stripe and inference.precision are the run's where not set",
    )
    mode: Literal["whole", "tiles", "reference", "io"] = Field(
        "whole",
        description="whole = a scene in one pass | tiles = the same result with less memory | reference = the "
        "reference's overlapping tiles | io = scenes are only read",
    )
    output: tuple[MaskForm, ...] = Field(
        ("reference",),
        min_length=1,
        description="forms of the masks, one or a list: reference = as the reference writes them (HDF5) | netcdf = "
        "CF-1.9 netCDF | geotiff = on a map (inference.epsg), needs rasterio | quicklook = a picture of each; both "
        "means [reference, netcdf]",
    )
    other_masks: tuple[str, ...] = Field(
        (),
        description="folders of masks that others made, NAME.nc or NAME.h5 for a scene NAME: each is a row in the "
        "tables of scores (docs/reference/cloudmask.md)",
    )
    epsg: int = Field(
        4326,
        gt=0,
        le=2**31 - 1,
        description="output geotiff: EPSG number of the map's coordinate system; 4326 is latitude and longitude",
    )
    tile_size: int = Field(
        512, ge=128, multiple_of=8, description="mode tiles: edge of the part of the mask that each tile yields, pixels"
    )
    crop_size: int = Field(
        80, ge=0, multiple_of=2, description="mode reference: overlap of tiles in pixels; half is cut off each side"
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="probability above which a pixel is cloud")
    precision: Precision = Field(
        "float32", description="arithmetic of layers: float32 | tf32 | mixed_bfloat16 | mixed_float16"
    )
    xla: bool = Field(False, description="compile the forward pass with XLA")
    num_warmup_runs: int = Field(0, ge=0, description="passes over all scenes that are not timed")
    num_runs: int = Field(1, gt=0, description="timed passes over all scenes")
    readers: int = Field(1, ge=1, le=64, description="scenes that a rank reads at once, ahead of the network")
    pictures: int = Field(
        2,
        ge=0,
        description="scenes to draw (scene, mask, labels, errors), and as many again in which network and labels "
        "differ most",
    )

    @field_validator("output", mode="before")
    @classmethod
    def _one_or_several(cls, forms: object) -> object:
        words = [forms] if isinstance(forms, str) else forms
        if not isinstance(words, (list, tuple)):
            return forms
        both: tuple[object, ...] = ("reference", "netcdf")
        each = [form for word in words for form in (both if word == "both" else (word,))]
        return tuple(form for number, form in enumerate(each) if form not in each[:number])

    @field_validator("other_masks", mode="before")
    @classmethod
    def _one_folder(cls, folders: object) -> object:
        if isinstance(folders, str):
            return (folders,) if folders else ()
        return tuple(folders) if isinstance(folders, list) else folders


class ReportSettings(Settings):
    log_file: str = Field("", description="text log to append the reference's two lines to, besides the run's own")
    mlperf_logfile: str = Field("", description="also copy the MLPerf log here; an older file is moved aside")
    model_file: str = Field("", description="also copy the trained network here; an older file is moved aside")
    saved_model: bool = Field(
        True, description="also save the network as a SavedModel in the run's folder, for other programs"
    )


class Config(Recipe):
    gone: ClassVar[dict[str, str]] = {
        "study": "belongs to the command `study`: python -m cloudmask study --config FILE",
        "optimizer.eps_form": "is fixed: eps is added before the bias correction, as Keras does",
        "inference.warmup_scenes": "is fixed: one pass over a blank scene comes before the timed ones",
        "inference.disagreements": "was removed: inference.pictures sets the number",
        "inference.overlay": "was removed: the mask and its errors are drawn beside the scene",
        **TF32_IS_A_PRECISION,
        "inference.grid": "is no longer a section: "
        "python -m cloudmask grid --axis inference.mode=whole,tiles --ranks 1",
        "synthesize": f"is no longer a section: scenes are made by {SYNTHESIZE}",
        **{
            f"loss.{key}": "was removed with its loss (docs/decisions/001-losses-for-wrong-labels.md)"
            for key in ("bootstrap_beta", "focal_alpha", "focal_gamma", "generalized_q")
        },
        **{
            f"loss.{key}": "is fixed at the value of its paper (cloudmask/losses.py)"
            for key in ("symmetric_alpha", "symmetric_beta", "symmetric_log_zero")
        },
        "model.decoder": "is no setting: the program chooses how decoder steps are computed",
        "optimizer.larc_eta": "was removed: CloudMask has no LARC",
        "optimizer.larc_mode": "was removed: CloudMask has no LARC",
        "cluster": "belongs to the command `cluster`: python -m cloudmask cluster --config FILE",
    }

    benchmark: Literal["cloudmask"] = Field("cloudmask", description="which benchmark this file is for")
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    training: CloudTrainingSettings = CloudTrainingSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    inference: InferenceSettings = InferenceSettings()
    submission: SubmissionSettings = SubmissionSettings()
    output: OutputSettings = OutputSettings()
    report: ReportSettings = ReportSettings()
    threads: int = Field(
        0, ge=0, le=4096, description="compute threads per rank; 0 shares the node's cores out over its ranks"
    )

    @model_validator(mode="after")
    def _another_network_is_open(self):
        chosen = {"model.network": self.model.network, "loss.loss": self.loss.loss}
        other = [f"{name}: {value}" for name, value in chosen.items() if value not in ("reference", "bce")]
        if other and self.submission.division != "open":
            raise refusal(
                "submission.division",
                f"must be open with {' and '.join(other)}, which the reference program does not have",
                self.submission.division,
            )
        return self


def load(path: Optional[str] = None, overrides: Optional[list] = None) -> Config:
    """Load the settings of a YAML file, of this project's form or the reference's, with key=value overrides.

    Raises:
        UserError: if a setting is unknown or its value is not allowed.
    """
    return config.load(Config, path, overrides, reference_settings.translate)

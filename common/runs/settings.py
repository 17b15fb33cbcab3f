"""Settings of a run's folder and of the submission data in its MLPerf log."""

from typing import Literal, Optional

from pydantic import Field, field_validator

from common.config.settings import Settings


class OutputSettings(Settings):
    """Settings of a run's folder and of tracking."""

    folder: str = Field("runs", description="folder in which every run creates a folder of its own")
    run_name: str = Field("", description="name of the run's folder; empty: date and time")
    tensorboard: bool = Field(True, description="write TensorBoard event files")
    wandb: Literal["off", "offline", "online"] = Field(
        "off",
        description="track the run with Weights & Biases, an optional package: offline = in the run's folder, for "
        "`wandb sync` | online = also on its server",
    )

    @field_validator("wandb", mode="before")
    @classmethod
    def _off_is_a_word(cls, mode: object) -> object:
        """Accept False, as which YAML 1.1 reads a bare off."""
        return "off" if mode is False else mode

    @field_validator("folder", "run_name")
    @classmethod
    def _no_option(cls, name: str) -> str:
        if name.startswith("-"):
            raise ValueError("must not begin with a dash, as options do; a path may begin with ./")
        return name

    @field_validator("run_name")
    @classmethod
    def _one_name(cls, name: str) -> str:
        if "/" in name or name in (".", "..") or len(name.encode()) > 200:
            raise ValueError("must be the name of one folder, of at most 200 bytes, not a path")
        return name


class SubmissionSettings(Settings):
    """Settings of the submission data in MLPerf logs."""

    organisation: str = Field("unnamed", description="who runs the benchmark (submission_org)")
    division: str = Field("open", description="submission_division, such as open | closed")
    ruleset: Literal["1.0.0", "2.0.0", "3.0.0"] = Field(
        "3.0.0",
        description="MLPerf HPC rules whose checker judges the log: 1.0.0 | 2.0.0, staging is timed | 3.0.0, it is not",
    )
    instance: Optional[int] = Field(
        None, ge=0, description="number of this model among those trained at once for a throughput result; null: none"
    )
    status: str = Field("research", description="submission_status, such as onprem | cloud | research")
    platform: str = Field("unnamed", description="machine (submission_platform)")
    accelerators_per_node: int = Field(0, ge=0, description="GPUs per node, for the log; 0: as many as are found")

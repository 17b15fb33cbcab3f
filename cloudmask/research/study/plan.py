"""The runs of a study: every network with every loss, label error and seed, each scored in every precision."""

import itertools
from pathlib import Path
from typing import NamedTuple

from cloudmask.config import Config
from cloudmask.research.config import ResearchConfig, percent


class Trial(NamedTuple):
    """One training. `name` is that of its run folder, in the study's folder."""

    network: str
    loss: str
    label_error: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.network}-{self.loss}-error{percent(self.label_error)}-seed{self.seed}"


class Step(NamedTuple):
    """A process of the study: a command for a trial, with an inference precision."""

    trial: Trial
    command: str  # run; infer for each further precision
    precision: str

    @property
    def name(self) -> str:
        return self.trial.name if self.command == "run" else f"{self.trial.name}-{self.precision}"


def trials(config: ResearchConfig) -> list[Trial]:
    """List all trainings, seed by seed, so that a study that is half done has one run of everything."""
    study = config.study
    return [
        Trial(network, loss, error, seed)
        for seed, network, loss, error in itertools.product(
            study.seeds, study.networks, study.losses, study.label_errors
        )
    ]


def steps(config: ResearchConfig) -> list[Step]:
    """List all trainings, then the inferences in further precisions."""
    first, *others = config.study.precisions
    trainings = [Step(trial, "run", first) for trial in trials(config)]
    return trainings + [Step(trial, "infer", precision) for precision in others for trial in trials(config)]


def scenes_folder(config: ResearchConfig, label_error: float) -> Path:
    """The folder of the scenes with this label error."""
    return Path(config.study.scenes_folder).expanduser() / f"error{percent(label_error)}"


def overrides(config: ResearchConfig, step: Step, threads: int) -> dict[str, object]:
    """The settings in which a step differs from the study, by full name."""
    trial, folder = step.trial, Path(config.output.folder).expanduser()
    values: dict[str, object] = {
        "model.network": trial.network,
        "loss.loss": trial.loss,
        "training.seed": trial.seed,
        "data.train_dir": str(scenes_folder(config, trial.label_error)),
        "inference.only_held_out": True,
        "inference.precision": step.precision,
        "output.run_name": step.name,
        "threads": threads,
    }
    if step.command == "infer":
        values["inference.model_file"] = str(folder / trial.name / "model.keras")
    return values


def settings_of(config: ResearchConfig, values: dict[str, object]) -> Config:
    """Return the benchmark's settings with these in place of the study's own.

    A run's settings do not name the study's other runs, so that networks, losses and seeds can be added later.
    """
    sections: dict[str, dict] = {}
    top: dict[str, object] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (sections.setdefault(section, {}) if section else top)[key] = value
    changed = {name: getattr(config, name).model_copy(update=update) for name, update in sections.items()}
    return Config(**{name: getattr(config, name) for name in Config.model_fields} | changed | top)

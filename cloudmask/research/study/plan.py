"""Which runs a study has: every network with every loss, label error and seed, and each scored in every precision."""

import itertools
from pathlib import Path
from typing import NamedTuple

from cloudmask.config import Config
from cloudmask.research.config import ResearchConfig


class Trial(NamedTuple):
    """One training. Its name is that of its run folder in the study's."""

    network: str
    loss: str
    label_error: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.network}-{self.loss}-error{100 * self.label_error:g}-seed{self.seed}"


class Step(NamedTuple):
    """A process of the study: the command of a trial, in the inference precision given, and the name of its run."""

    trial: Trial
    command: str  # run, or infer for a further precision
    precision: str

    @property
    def name(self) -> str:
        return self.trial.name if self.command == "run" else f"{self.trial.name}-{self.precision}"


def trials(config: ResearchConfig) -> list[Trial]:
    """By seed first: a study that is looked at half way has one run of everything."""
    study = config.study
    return [
        Trial(network, loss, error, seed)
        for seed, network, loss, error in itertools.product(
            study.seeds, study.networks, study.losses, study.label_errors
        )
    ]


def steps(config: ResearchConfig) -> list[Step]:
    """All trainings, then what is scored in further precisions."""
    first, *others = config.study.precisions
    found = [Step(trial, "run", first) for trial in trials(config)]
    return found + [Step(trial, "infer", precision) for precision in others for trial in trials(config)]


def scenes_folder(config: ResearchConfig, label_error: float) -> Path:
    """Where the scenes whose labels err at this rate lie."""
    return Path(config.study.scenes_folder).expanduser() / f"error{100 * label_error:g}"


def overrides(config: ResearchConfig, step: Step, threads: int) -> dict[str, object]:
    """What a step's settings have other than the study's, by full name."""
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

    A run does not know what else its study tries: networks, losses and seeds can be added to it later.
    """
    sections: dict[str, dict] = {}
    top: dict[str, object] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (sections.setdefault(section, {}) if section else top)[key] = value
    changed = {name: getattr(config, name).model_copy(update=update) for name, update in sections.items()}
    return Config(**{name: getattr(config, name) for name in Config.model_fields} | changed | top)

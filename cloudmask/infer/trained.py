"""What an inference takes from the run that trained its network: the settings that its weights go with."""

from pathlib import Path
from typing import Any, NamedTuple, Optional

from cloudmask import config as settings
from cloudmask.config import Config
from common import distributed
from common.errors import UserError

# Other values would show the network other numbers than those that it was trained on, or compute otherwise.
_FOLLOWED = {
    "data": ("missing", "reflectance_range", "temperature_range_kelvin", "sen3", "calibration", "stripe"),
    "inference": ("precision",),
}


class Followed(NamedTuple):
    """Settings of an inference, and what there is to say of where they come from."""

    config: Config
    notes: list[str]


def as_trained(config: Config) -> Followed:
    """Take what was not set from the run that inference.model_file lies in, or is. Collective.

    The network is always the run's. What is set otherwise than in the run stays, and a note says so.

    Raises:
        UserError: if another network is asked for, or the run's settings cannot be read.
    """
    return distributed.on_root(lambda: _as_trained(config))


def _as_trained(config: Config) -> Followed:
    folder = _run_of(Path(config.inference.model_file).expanduser()) if config.inference.model_file else None
    if folder is None:
        return Followed(config, [])
    trained = settings.load(str(folder / "config.yaml"))
    network = trained.model.network
    if "network" in config.model.model_fields_set and config.model.network != network:
        raise UserError(
            f"model.network is '{config.model.network}', but {folder} trained the network '{network}': leave it out"
        )
    taken: dict[str, Any] = {"model": trained.model}
    said, notes = [], []
    if network != config.model.network:
        said.append(f"model.network={network}")
    for section, names in _FOLLOWED.items():
        own, theirs = getattr(config, section), getattr(trained, section)
        differing = [name for name in names if getattr(own, name) != getattr(theirs, name)]
        kept = [name for name in differing if name in own.model_fields_set]
        followed = {name: getattr(theirs, name) for name in differing if name not in kept}
        taken[section] = own.model_copy(update=followed)
        said += [f"{section}.{name}={_shown(value)}" for name, value in followed.items()]
        notes += [
            f"warning: {section}.{name} is {_shown(getattr(own, name))}, but the network was trained with "
            f"{_shown(getattr(theirs, name))} ({folder / 'config.yaml'})"
            for name in kept
        ]
    if said:
        notes.insert(0, f"as in the training, {folder / 'config.yaml'}: {', '.join(said)}")
    return Followed(config.model_copy(update=taken), notes)


def _run_of(path: Path) -> Optional[Path]:
    """The run's folder that `path` is or lies in; None for a network from elsewhere."""
    for folder in (path, path.parent):
        if (folder / "config.yaml").is_file() and (folder / "environment.jsonl").is_file():
            return folder
    return None


def _shown(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)

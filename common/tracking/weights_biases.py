"""Weights & Biases: an offline directory that `wandb sync` uploads later or, with a network, a run on its server.

A process of its own writes. It captures nothing from the terminal, runs no git commands and does not measure the
machine during training.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Optional

from common.errors import UserError
from common.tracking.points import Description, Point
from common.tracking.tracker import missing

_QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "finish_timeout": 60.0,  # seconds; what is not uploaded by then stays on disk, for `wandb sync`
    # Without a connection to the server it would try for longer than init_timeout allows; so it gives up in a minute.
    "x_graphql_retry_max": 3,
    "x_graphql_retry_wait_max_seconds": 5.0,
    "x_graphql_timeout_seconds": 15.0,
}


def load() -> Any:
    """Import the package. Raises UserError if it is missing or incompatible with the other packages."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # which sends reports to its makers
    try:
        import wandb

        wandb.Settings  # noqa: B018  any folder called wandb can be imported, but lacks this
    except Exception as error:  # an incompatible protobuf raises a TypeError
        raise missing("wandb", error) from error
    return wandb


def directory(folder: Path, identity: str) -> Optional[Path]:
    """Return the newest directory of a run below `folder`; None if there is none."""
    return max((folder / "wandb").glob(f"*run-*-{identity}"), default=None)


class WeightsAndBiases:
    """A run in Weights & Biases, as a `Tracker`."""

    def __init__(self, about: Description, folder: Path, mode: str):
        """Open the run.

        Args:
            about: describes the run.
            folder: folder in which it writes to wandb/.
            mode: offline | online.

        Raises:
            UserError: if the run cannot be opened.
        """
        wandb = load()
        self._teardown = wandb.teardown
        known = wandb.Settings.model_fields  # which differ between its versions
        self.failures: tuple[type[Exception], ...] = (OSError, wandb.errors.Error)
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or about.project,
                name=about.name,
                id=about.identity,
                config={**about.config, "environment": about.environment},
                dir=str(folder),
                mode=mode,
                resume="allow" if mode == "online" else None,  # offline it is not supported and gives a warning
                settings=wandb.Settings(**{key: value for key, value in _QUIET.items() if key in known}),
            )
        except Exception as error:
            cause = " ".join(str(error).split())[:300]
            hint = "; without a network use output.wandb=offline" if mode == "online" else ""
            raise UserError(f"Weights & Biases cannot start ({cause}){hint}") from error

    def log(self, points: list[Point]) -> None:
        for point in points:
            self._run.log({**point.values, "_timestamp": point.time}, step=point.step)

    def summarise(self, figures: Point) -> None:
        self._run.summary.update(figures.values)

    def attach(self, folder: Path, files: list[Path]) -> None:
        for file in files:
            copy = Path(self._run.dir) / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            self._run.save(str(copy), base_path=self._run.dir, policy="now")

    def finish(self, *, failed: bool) -> None:
        code = 1 if failed else 0
        self._run.finish(exit_code=code)
        # Its process may not have written the last block yet, and a run that fails exits without waiting for it.
        self._teardown(exit_code=code)

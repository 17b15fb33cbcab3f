"""What a tracker does; weights_biases.py and mlflow_store.py are the two."""

from pathlib import Path
from typing import Protocol

from common.errors import UserError
from common.tracking.points import Point


class Tracker(Protocol):
    """One run of a tracker, opened with the run's description. Steps never fall."""

    failures: tuple[type[Exception], ...]  # what its methods raise where the disk or the network fails

    def log(self, points: list[Point]) -> None: ...

    def summarise(self, figures: Point) -> None:
        """Figures of the whole run."""

    def attach(self, folder: Path, files: list[Path]) -> None:
        """Copies of files of the run's folder."""

    def finish(self, *, failed: bool) -> None:
        """failed: the run ended with an error."""


def missing(packages: str, error: Exception) -> UserError:
    """packages: as pip takes them."""
    said = " ".join(str(error).split())[:200] or type(error).__name__
    # Without -c pip would take a release that needs, and brings, a protobuf that TensorFlow cannot use.
    install = f"`pip install -c requirements.txt {packages}`"
    return UserError(f"the package {packages.split()[0]} cannot be used ({said}); it is optional: {install}")

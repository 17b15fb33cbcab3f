"""The protocol of trackers, which weights_biases.py and mlflow_store.py implement."""

from pathlib import Path
from typing import Protocol

from common.errors import UserError
from common.tracking.points import Point


class Tracker(Protocol):
    """One run in a tracker, opened with the run's description. Steps must not decrease."""

    failures: tuple[type[Exception], ...]  # that its methods raise if the disk or the network fails

    def log(self, points: list[Point]) -> None:
        """Add points to the curves."""

    def summarise(self, figures: Point) -> None:
        """Set figures of the whole run."""

    def attach(self, folder: Path, files: list[Path]) -> None:
        """Add copies of files in the run's folder."""

    def finish(self, *, failed: bool) -> None:
        """Close the run; `failed`: it ended with an error."""


def missing(packages: str, error: Exception) -> UserError:
    """Return the error for a tracker whose package cannot be imported.

    Args:
        packages: packages to install, as pip takes them, the tracker's own first.
        error: exception that the import raised.
    """
    cause = " ".join(str(error).split())[:200] or type(error).__name__
    # Without -c, pip would choose a release that needs a protobuf that TensorFlow cannot use, and install that too.
    install = f"`pip install -c requirements.txt {packages}`"
    return UserError(f"the package {packages.split()[0]} cannot be used ({cause}); it is optional: {install}")

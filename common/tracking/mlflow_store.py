"""MLflow without a server: an SQLite file with curves and settings, and a folder with copies of files beside it."""

import logging
import os
import time
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.tracking.points import Description, Point
from common.tracking.tracker import missing

FILE, FILES = "mlflow.db", "mlartifacts"

_IDENTITY = "run.identity"
_MOST_METRICS, _MOST_PARAMETERS = 1000, 100  # in one call
_LONGEST_VALUE, _LONGEST_TAG = 6000, 5000  # characters


def load() -> Any:
    """Import the package and what its SQLite store needs. Raises UserError if one of them cannot be used."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    try:
        import alembic  # noqa: F401
        import mlflow
        import sqlalchemy  # noqa: F401

        mlflow.MlflowClient  # noqa: B018  any folder called mlflow can be imported, but lacks this
    except Exception as error:  # an incompatible protobuf raises a TypeError
        raise missing("mlflow-skinny sqlalchemy alembic", error) from error
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return mlflow


class MlflowStore:
    """A run in an MLflow store, as a `Tracker`."""

    def __init__(self, about: Description, folder: Path):
        """Open the store and create the run in it.

        Args:
            about: describes the run.
            folder: folder for the SQLite file and the copied files.

        Raises:
            UserError: if the store already contains the run, or cannot be used.
        """
        mlflow = load()
        from sqlalchemy.exc import SQLAlchemyError

        self.failures: tuple[type[Exception], ...] = (OSError, mlflow.exceptions.MlflowException, SQLAlchemyError)
        self._entities, self._last_time = mlflow.entities, about.started
        folder = folder.resolve()
        path = folder / FILE
        _check_database(path)
        uri = f"sqlite:///{path}"
        try:
            self._client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
            self._open(about, folder, path)
        except self.failures as error:
            raise UserError(f"{path}: cannot be used ({str(error).splitlines()[0][:300]})") from error

    def _open(self, about: Description, folder: Path, path: Path) -> None:
        client = self._client
        experiment = client.get_experiment_by_name(about.project)
        experiment_id = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(about.project, artifact_location=(folder / FILES).as_uri())
        )
        for old in client.search_runs([experiment_id], f"tags.`{_IDENTITY}` = '{about.identity}'"):
            if old.info.status != "RUNNING":
                raise UserError(f"{path}: already contains the run {about.name}; give another --folder")
            client.delete_run(old.info.run_id)  # of an export that was interrupted
        tags = {f"environment.{key}": str(value)[:_LONGEST_TAG] for key, value in about.environment.items()}
        tags = {_IDENTITY: about.identity, **dict(list(tags.items())[:_MOST_PARAMETERS])}
        created = client.create_run(experiment_id, round(about.started * 1000), tags, run_name=about.name)
        self._id = created.info.run_id
        parameters = [
            self._entities.Param(key[:250], str(value)[:_LONGEST_VALUE]) for key, value in _flat(about.config).items()
        ]
        for first in range(0, len(parameters), _MOST_PARAMETERS):
            client.log_batch(self._id, params=parameters[first : first + _MOST_PARAMETERS])

    def log(self, points: list[Point]) -> None:
        metrics = [
            self._entities.Metric(name, value, round(point.time * 1000), point.step)
            for point in points
            for name, value in point.values.items()
        ]
        for first in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[first : first + _MOST_METRICS])
        self._last_time = max([self._last_time, *(point.time for point in points)])

    def summarise(self, figures: Point) -> None:
        self.log([figures])

    def attach(self, folder: Path, files: list[Path]) -> None:
        for file in files:
            inner = file.relative_to(folder).parent
            self._client.log_artifact(self._id, str(file), None if inner == Path() else str(inner))

    def finish(self, *, failed: bool) -> None:
        end = round((self._last_time or time.time()) * 1000)
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED", end_time=end)


def _check_database(path: Path) -> None:
    """Raise UserError for a file that is not a database, which MLflow would try to open for minutes."""
    if set("?#") & set(str(path)):
        raise UserError(f"{path}: MLflow does not accept a path with ? or #; choose another --folder")
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if head not in (b"", b"SQLite format 3\0"):
        raise UserError(f"{path}: is not an SQLite file; choose another --folder")


def _flat(tree: dict, prefix: str = "") -> dict:
    """Return the values of nested dictionaries by their full names."""
    flat: dict = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat

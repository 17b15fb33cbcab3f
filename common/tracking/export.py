"""Export finished runs to an experiment tracker: python -m common.export RUN... --to wandb|mlflow [--folder DIR]

wandb   an offline directory DIR/wandb/offline-run-...; `wandb sync` uploads it where there is a network
mlflow  an SQLite file DIR/mlflow.db and copied files in DIR/mlartifacts; `mlflow ui` shows them

DIR is the run's own folder by default. Times are those of the run, names are TensorBoard's, and a step is an update;
settings, environment, scores, report and pictures are included. No network is used, and no file of the run is changed.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from common.cli.program import Parser
from common.errors import UserError
from common.runs import records
from common.runs.files import check_writable, whole
from common.tracking import points
from common.tracking.mlflow_store import FILE, MlflowStore
from common.tracking.tracker import Tracker
from common.tracking.weights_biases import WeightsAndBiases, directory

RECORDS = "metrics.jsonl"


def export(run: Path, to: str, folder: Path) -> str:
    """Export one run.

    Args:
        run: the run's folder.
        to: wandb | mlflow.
        folder: folder for the export.

    Returns:
        The command that shows or uploads it.

    Raises:
        UserError: if it is not a run folder, was exported to `folder` before, or cannot be written.
    """
    about = points.describe(run)
    if not (run / RECORDS).exists():
        raise UserError(f"{run}: has no {RECORDS}, so there is nothing to export")
    records.check(run / RECORDS)
    check_writable(folder / "file")
    if to == "mlflow":
        _fill(MlflowStore(about, folder), run, about)
        return f"mlflow ui --backend-store-uri sqlite:///{folder.resolve() / FILE}"
    old = directory(folder, about.identity)
    if old is not None:
        raise UserError(f"{old}: already contains the run {about.name}; remove it, or give another --folder")
    with tempfile.TemporaryDirectory(prefix=".export-", suffix=".tmp", dir=folder) as temporary:
        _fill(WeightsAndBiases(about, Path(temporary), "offline"), run, about)
        made = directory(Path(temporary), about.identity)
        assert made is not None
        with whole(folder / "wandb" / made.name) as complete:
            os.replace(made, complete)
    return f"wandb sync {directory(folder, about.identity)}"


def _fill(tracker: Tracker, run: Path, about: points.Description) -> None:
    """Write a run to a tracker, and close it. Raises UserError."""
    failed = True
    try:
        _write(run, tracker, points.kinds_of_figures(about.project))
        failed = False
    except tracker.failures as error:
        cause = " ".join(str(error).split())[:300]
        raise UserError(f"{run}: could not be exported ({cause})") from error
    finally:
        tracker.finish(failed=failed)


def _write(run: Path, tracker: Tracker, of_whole_run: frozenset[str]) -> None:
    path, last = run / RECORDS, points.Point(0, 0.0, {})
    for chunk in points.in_chunks(lambda: records.iterate(path)):
        tracker.log(chunk)
        last = chunk[-1]
    figures: dict[str, float] = {}
    for record in records.iterate(path, *of_whole_run):
        figures.update(points.figures(record, of_whole_run))
    if figures:
        tracker.summarise(last._replace(values=figures))
    files = [run / "report.md", *sorted((run / "pictures").glob("*.png"))]
    # A link in a folder from someone else could point to any file of this machine.
    tracker.attach(run, [file for file in files if file.is_file() and not file.is_symlink()])


def main() -> int:
    parser = Parser(
        "python -m common.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run folder")
    parser.add_argument("--to", required=True, choices=["wandb", "mlflow"])
    parser.add_argument("--folder", metavar="DIR", help="where to write it; by default the run's own folder")
    options = parser.parse_args(sys.argv[1:])
    for run in map(Path, options.runs):
        print(f"{run}: exported; {export(run, options.to, Path(options.folder or run).expanduser())}")
    return 0

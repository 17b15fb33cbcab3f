"""Export finished runs to an experiment tracker: python -m common.export RUN... --to wandb|mlflow [--folder DIR]

wandb   an offline directory DIR/wandb/offline-run-...; `wandb sync` uploads it where there is a network
mlflow  an SQLite file DIR/mlflow.db and copied files in DIR/mlartifacts; `mlflow ui` shows them

DIR is the run's own folder by default. Times are those of the run, names are TensorBoard's, and a step is an update;
settings, environment, scores, report and pictures are included. No network is used, and no file of the run is changed.
"""

import argparse
import sys
from pathlib import Path

from common.cli.program import Parser
from common.errors import UserError
from common.runs.files import check_writable
from common.runs.records import read_records
from common.tracking import points
from common.tracking.mlflow_store import FILE, MlflowStore
from common.tracking.tracker import Tracker
from common.tracking.weights_biases import WeightsAndBiases, directory


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
    check_writable(folder / "file")
    tracker: Tracker
    if to == "mlflow":
        tracker = MlflowStore(about, folder)
    else:
        old = directory(folder, about.identity)
        if old is not None:
            raise UserError(f"{old}: already contains the run {about.name}; remove it, or give another --folder")
        tracker = WeightsAndBiases(about, folder, "offline")
    failed = True
    try:
        _write(run, tracker, points.kinds_of_figures(about.project))
        failed = False
    except tracker.failures as error:
        cause = " ".join(str(error).split())[:300]
        raise UserError(f"{run}: could not be exported to {folder} ({cause})") from error
    finally:
        tracker.finish(failed=failed)
    if to == "mlflow":
        return f"mlflow ui --backend-store-uri sqlite:///{folder.resolve() / FILE}"
    return f"wandb sync {directory(folder, about.identity)}"


def _write(run: Path, tracker: Tracker, of_whole_run: frozenset[str]) -> None:
    records = read_records(run / "metrics.jsonl")
    curves = points.points(records)
    tracker.log(curves)
    last = curves[-1] if curves else points.Point(0, 0.0, {})
    figures = {name: value for record in records for name, value in points.figures(record, of_whole_run).items()}
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

"""Runs to the tables and curves that procurements ask for.

python -m common.report PATH... [--html FILE] [--format terminal|markdown|csv] [--target X] [--epochs N]
    [--with published] [--package DIR]

PATH is a run folder, an MLPerf log, ours or another program's, the PyTorch reference's too, a folder of these, or the
folder of a submission, which holds results/ and perhaps pruned_results/.
Prints tables; --html writes one page for people who would rather look: verdict, charts, pictures and tables by
benchmark, in one file; --package lays out MLPerf's results folder.
"""

import argparse
import csv
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from rich.table import Table

from common.cli.program import Parser, run_program
from common.cli.registry import benchmarks
from common.errors import UserError, printable
from common.report import compliance, log_files, published, scaling
from common.report import package as packages
from common.report.extension import extension_of
from common.report.generic import problems_table, runs_table
from common.report.logs import PRUNED, RUN_LOG, RunLog
from common.report.olympic import olympic_table
from common.report.options import Options
from common.report.page import check_page, page
from common.report.tables import markdown, show
from common.report.throughput import throughput_table
from common.runs.files import write_text


def load(paths: list) -> list[RunLog]:
    """The runs of run folders, logs and folders of these. Raises UserError."""
    runs: list[RunLog] = []
    for log in (log for path in map(Path, paths) for log in _logs_of(path)):
        taken = {run.name for run in runs}
        for run in log_files.read(log):
            if run.name in taken:  # two logs of the same name in different folders
                run.name = str(log.parent / run.name)
            runs.append(run)
    return runs


def _logs_of(path: Path) -> list[Path]:
    """The log of a run folder; of another folder, those of the run folders in it and its .txt and .log files."""
    if not path.is_dir():
        return [path]
    if (path / RUN_LOG).is_file():
        return [path / RUN_LOG]
    if (path / "results").is_dir():  # of a submission, with what it pruned
        return _sorted(
            log for part in ("results", PRUNED) for log in (path / part).rglob("*.txt") if log_files.is_log(log)
        )
    found = [folder / RUN_LOG for folder in path.iterdir() if (folder / RUN_LOG).is_file()]
    found += [file for ending in ("txt", "log") for file in path.glob(f"*.{ending}") if log_files.is_log(file)]
    if not found:
        raise UserError(f"{path}: is neither a run folder (it holds no {RUN_LOG}) nor a folder of runs or logs")
    return _sorted(found)


def _sorted(paths: Iterable[Path]) -> list[Path]:
    """By name, numbers in it by their values."""
    return sorted(paths, key=lambda path: [int(w) if w.isdigit() else w for w in re.split(r"(\d+)", str(path))])


def tables(runs: list[RunLog], options: Options) -> list[Table]:
    """All that apply to these runs, but for the checker's, which takes a program of its own for each."""
    built: list[Optional[Table]] = [runs_table(runs, options)]
    for benchmark in benchmarks().values():
        own = [run for run in runs if run.benchmark is benchmark]
        if own:
            built += [form(own, options) for form in extension_of(benchmark).forms]
    built += [scaling.scaling_table(group) for group in scaling.scaling_groups(runs)]
    built += [olympic_table(runs, options), throughput_table(runs, options), problems_table(runs)]
    return [each for each in built if each is not None]


def _print_csv(made: Table) -> None:
    """The table of runs, a line a run."""
    columns = [[str(cell) for cell in column.cells] for column in made.columns]
    heads = [str(column.header) for column in made.columns]
    writer = csv.writer(sys.stdout)
    writer.writerow(["run", *columns[0]])
    for name, column in zip(heads[1:], columns[1:]):
        writer.writerow([name, *("" if cell == "-" else cell for cell in column)])


def parse(arguments: list) -> argparse.Namespace:
    parser = Parser(
        "python -m common.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a run folder, an MLPerf log, or a folder of these")
    parser.add_argument(
        "--html", metavar="FILE", help="write one page with verdict, charts and tables; not over another file"
    )
    parser.add_argument(
        "--format", choices=["terminal", "markdown", "csv"], default="terminal", help="of what is shown"
    )
    parser.add_argument("--package", metavar="DIR", help="lay out MLPerf's results folder there, and have it checked")
    parser.add_argument("--target", type=float, metavar="X", help="score to reach, if not the log's")
    parser.add_argument("--with", dest="beside", choices=["published"], help="set published results beside the runs")
    parser.add_argument("--epochs", type=int, default=16, metavar="N", help="for the time to N epochs")
    return parser.parse_args(arguments)


def main() -> int:
    arguments = parse(sys.argv[1:])
    target = Path(arguments.html) if arguments.html else None
    if target:
        check_page(target)
    if arguments.package:
        packages.check_target(Path(arguments.package))
    runs, options = load(arguments.paths), Options(arguments.target, arguments.epochs)
    verdicts = compliance.verdicts(runs)
    checked = compliance.compliance_table(verdicts)
    built = [*tables(runs, options), *([checked] if checked else [])]
    if arguments.beside:
        built += published.tables(runs, options)
    _print(built, arguments.format)
    if arguments.package:
        for package in packages.lay_out(runs, Path(arguments.package)):
            print("\n".join(map(printable, packages.verdicts(package))))
            print(f"written: {package.folder}; to be filled in by hand in systems/: {', '.join(package.asked)}")
    if target:
        write_text(target, page(runs, options, verdicts))
        print(f"written: {target}", file=sys.stderr)
    return 0


def _print(built: list[Table], form: str) -> None:
    if form == "csv":
        _print_csv(built[0])
    elif form == "markdown":
        print("\n\n".join(map(markdown, built)))
    else:
        show(*built, width=150)


def command() -> None:
    """The console command; leaves the process."""
    run_program(main)


if __name__ == "__main__":
    command()

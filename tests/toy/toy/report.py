"""What the toy benchmark adds to reports: a form, and its score's title."""

from rich.table import Table

from common.report.extension import Extension
from common.report.generic import best_score
from common.report.logs import RunLog
from common.report.options import Options, show
from common.report.tables import table


def form(runs: list[RunLog], options: Options) -> Table:
    built = table("Toy form", "Run", "Best F1")
    for run in runs:
        built.add_row(run.name, show(best_score(run), ".2f"))
    return built


EXTENSION = Extension(forms=(form,), score_titles={"f1": "F1"})

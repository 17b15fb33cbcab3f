"""The page of a report: one HTML file with everything in it, that asks no server for anything.

A section a benchmark: the verdict, charts, pictures of predictions, then the details. Charts are drawn by uPlot
(assets/README.md) from JSON. Names and values are of strangers: they stand in the page as escaped text or inside JSON
that no tag can end, and the page's policy lets no script run but its own.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Optional

from rich.table import Table

from common.cli.registry import Benchmark, benchmarks
from common.errors import UserError, printable
from common.report import curves, scaling
from common.report.compliance import compliance_table
from common.report.extension import extension_of
from common.report.generic import problems_table, runs_table
from common.report.logs import RUN_LOG, RunLog
from common.report.olympic import olympic_table
from common.report.options import Options
from common.report.tables import as_html, as_html_by_row
from common.report.throughput import throughput_table
from common.report.verdict import verdict_table
from common.runs.files import check_writable

TITLE = "<title>Benchmark runs</title>"
_ASSETS = Path(__file__).with_name("assets")
_PICTURES = 3  # of a run
_PICTURE_BYTES = 2 * 2**20  # twice a large picture of ours; a stranger's may be anything
_PNG = b"\x89PNG\r\n\x1a\n"


class Section(NamedTuple):
    """benchmark: None for logs of none of ours."""

    benchmark: Optional[Benchmark]
    runs: list[RunLog]

    @property
    def name(self) -> str:
        return self.benchmark.name if self.benchmark else "other"

    @property
    def title(self) -> str:
        return self.benchmark.title if self.benchmark else "Other logs"


def check_page(path: Path) -> None:
    """Raise UserError unless a page can be written to a path: where nothing is, or over a page of ours."""
    if not path.parent.is_dir():
        raise UserError(f"{path}: its folder does not exist; make it, or choose another --html")
    if path.exists() and not (path.is_file() and TITLE in _head(path)):
        raise UserError(f"{path}: exists and is no report; choose another --html")
    check_writable(path)


def _head(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(500).decode("utf-8", "replace")
    except OSError as error:
        raise UserError(f"{path}: exists and cannot be read ({error.strerror}); choose another --html") from error


def page(runs: list[RunLog], options: Options, verdicts: dict[str, list[str]]) -> str:
    """The HTML. verdicts: what the compliance checker said, by the run's name."""
    sections = [
        section
        for benchmark in [*benchmarks().values(), None]
        if (section := Section(benchmark, [run for run in runs if run.benchmark is benchmark])).runs
    ]
    links = "".join(f'<a href="#{section.name}">{section.title}</a>' for section in sections)
    body = "\n".join(_section(section, options, verdicts) for section in sections)
    style, script = _read("uPlot.min.css") + _read("page.css"), _script()
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{TITLE}\n{_policy(script)}\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>\n'
        f"<body><h1>Benchmark runs</h1>\n<nav>{links}</nav>\n{body}\n<script>{script}</script></body></html>\n"
    )


def _read(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _script() -> str:
    """uPlot, with the licence that goes with each copy, and ours."""
    return f"/*\n{_read('uPlot.LICENSE')}*/\n{_read('uPlot.iife.min.js')}\n{_read('page.js')}"


def _policy(script: str) -> str:
    """Nothing is loaded from anywhere, and of scripts only this one runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">'


def _section(section: Section, options: Options, verdicts: dict[str, list[str]]) -> str:
    groups = scaling.scaling_groups(section.runs)
    return "\n".join(
        [
            f'<section id="{section.name}"><h2>{section.title}</h2>',
            verdict_table(section.benchmark, section.runs, options),
            _charts([*curves.charts(section.runs, options), *map(curves.scaling_chart, groups)], section.runs),
            _pictures(section.runs),
            _details(section, options, verdicts),
            "</section>",
        ]
    )


def _charts(charts: list[curves.Chart], runs: list[RunLog]) -> str:
    if not charts:
        return ""
    data = {"runs": [printable(run.name) for run in runs], "charts": [curves.as_data(chart) for chart in charts]}
    return (
        '<div class="legend"></div>\n<p>Drag to zoom, double-click to reset; a name above shows or hides its run.</p>\n'
        f'<div class="charts"></div>\n<script type="application/json" class="data">{_json(data)}</script>\n'
        "<noscript><p>The charts need JavaScript; the tables do not.</p></noscript>"
    )


def _json(data: dict) -> str:
    """JSON without <, > and &: nothing in it can end the element that holds it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _pictures(runs: list[RunLog]) -> str:
    """The first predictions of each run folder."""
    by_folder = {run.path.parent: run for run in runs if run.path.name == RUN_LOG}
    figures = [
        _figure(f"{run.name}: {name}", content)
        for folder, run in by_folder.items()
        for name, content in islice(
            _predictions(folder / "pictures", ("curves.png", *extension_of(run.benchmark).plots)), _PICTURES
        )
    ]
    return "\n".join(["<h3>Predictions</h3>", *figures]) if figures else ""


def _predictions(folder: Path, plots: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the folder's PNGs but for the plots, whatever else is called so passed over."""
    for path in sorted(folder.glob("*.png")):
        try:
            if path.name in plots or not path.is_file() or path.stat().st_size > _PICTURE_BYTES:
                continue
            content = path.read_bytes()
        except OSError:  # not ours to read: the page goes without it
            continue
        if content.startswith(_PNG):
            yield path.name, content


def _figure(caption: str, content: bytes) -> str:
    text, image = html.escape(printable(caption)), base64.b64encode(content).decode()
    return (
        f'<figure><div class="wide" tabindex="0"><img alt="{text}" src="data:image/png;base64,{image}"></div>'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _details(section: Section, options: Options, verdicts: dict[str, list[str]]) -> str:
    runs = section.runs
    details: list[Optional[Table]] = [form(runs, options) for form in extension_of(section.benchmark).forms]
    details += map(scaling.scaling_table, scaling.scaling_groups(runs))
    details += [olympic_table(runs, options), throughput_table(runs, options), problems_table(runs)]
    details.append(compliance_table({run.name: verdicts[run.name] for run in runs if run.name in verdicts}))
    tables = [
        as_html_by_row(runs_table(runs, options)),
        *(as_html(table) for table in details if table is not None),
    ]
    return "\n".join(["<details open><summary>Details</summary>", *tables, "</details>"])

"""The first table of a benchmark's section on the page: what became of each run, beside what others have published."""

from typing import Optional

from common.cli.registry import Benchmark
from common.errors import printable
from common.report import published
from common.report.generic import epochs_to_target, minutes_to_target, per_rank, reached, target_of
from common.report.logs import RunLog
from common.report.options import Options, show
from common.report.tables import HtmlRow, html_table

_COLOURS = 12  # in page.css and page.js


def verdict_table(benchmark: Optional[Benchmark], runs: list[RunLog], options: Options) -> str:
    """As HTML: a row a run, then the published rows. benchmark: None for logs of others, which have none."""
    heads = ["run", "target reached after, min", "in epoch", f"{options.epochs} epochs, s", "whole run, s"]
    heads += ["samples/s per rank", "best score", "nodes × GPUs", "ranks", "status", "machine"]
    rows, source = published.rows_of(benchmark) if benchmark else ([], "")
    lines = [_run(number, run, options) for number, run in enumerate(runs)]
    if rows:
        lines.append(HtmlRow(["published results", *[""] * (len(heads) - 1)], 'class="published head"'))
    lines += [_published(row, options) for row in rows]
    targets = sorted({target for run in runs if (target := target_of(run, options.target)) is not None})
    said = [f"Target: a score of {' or '.join(f'{target:g}' for target in targets)}."] if targets else []
    note = " ".join([*said, *([f"Published rows, with samples/s per GPU: {source}."] if rows else [])])
    return html_table("Verdict", heads, ["left", *["right"] * 8, "left", "words"], lines, note)


def _run(number: int, run: RunLog, options: Options) -> HtmlRow:
    said, kind = _reached(run, options)
    cells = [
        run.name,
        said,
        show(epochs_to_target(run, options.target)),
        show(run.time_to_epochs(options.epochs), ".1f"),
        show(run.interval("run"), ".1f"),
        show(per_rank(run.samples_per_second(), run), ".2f"),
        show(max((event.value for event in run.evaluations()), default=None), ".4f"),
        f"{show(run.nodes)} × {show(run.value('accelerators_per_node'))}",
        show(run.ranks),
        show(run.ending),
        show(run.value("submission_platform")),
    ]
    colour = f"--run: var(--c{number % _COLOURS})"
    return HtmlRow([printable(cell) for cell in cells], f'class="run {kind}" style="{colour}"')


def _reached(run: RunLog, options: Options) -> tuple[str, str]:
    """(minutes or what else there is to say, class of the row)."""
    target = target_of(run, options.target)
    if target is None or not run.evaluations():
        return ("no target" if target is None else "-"), ""
    if run.reached(target) is not None and reached(run, options.target) is None:
        return f"{run.status}, best {max(event.value for event in run.evaluations()):.4f}", "missed"
    if run.reached(target) is None:
        return f"missed, best {max(event.value for event in run.evaluations()):.4f}", "missed"
    minutes = minutes_to_target(run, options.target)
    return ("reached, time not known" if minutes is None else f"{minutes:.2f}"), "reached"


def _published(row: published.Row, options: Options) -> HtmlRow:
    rate = row.samples_per_second / row.accelerators if row.samples_per_second else None
    cells = [
        row.who,
        show(row.minutes_to_target, ".2f"),
        "-",
        show(row.seconds_to_16_epochs if options.epochs == 16 else None, ".1f"),
        show(row.training_seconds, ".0f"),
        show(rate, ".2f"),
        show(row.score),
        f"{row.accelerators} GPUs",
        "-",
        "-",
        row.machine,
    ]
    return HtmlRow(cells, 'class="published"')

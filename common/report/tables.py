"""Tables for people: rich ones in a terminal, the same as Markdown or HTML."""

import html
import sys
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from common.errors import printable

_WORDS, _WIDEST = 12, 240  # columns of characters


class PlainTable(Table):
    """Shows cells as they are: what a log or a file holds is never taken for markup or for a terminal's commands."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in cells), **options)


def table(title: str, *columns: str, text: bool = False) -> PlainTable:
    """text: the columns hold words, not figures."""
    plain = PlainTable(
        title=Text(printable(title)),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        padding=(0, 1, 0, 0),
    )
    for number, column in enumerate(columns):
        words = text or number == 0
        # Figures are never broken; in a narrow terminal the words beside them are.
        plain.add_column(
            Text(printable(column)), justify="left" if words else "right", overflow="fold", no_wrap=not words
        )
    return plain


def show(*tables: Table, width: int = 110) -> None:
    """Print in the terminal's width; where there is none, in `width` columns, or more for many figures."""
    terminal = sys.stdout.isatty()
    console = Console()
    for made in tables:
        if not terminal:
            console.width = _wide_enough(made, width)
        console.print(made)


def _wide_enough(made: Table, width: int) -> int:
    """Return `width`, or the table's own width where `width` would leave the words beside its figures no room."""
    wide = Console(width=_WIDEST)
    needed = Measurement.get(wide, wide.options, made).maximum
    words = max((len(str(cell)) for cell in made.columns[0].cells), default=0)
    return needed if needed - words + min(words, _WORDS) > width else width


def _rows(made: Table) -> tuple:
    """(heads, rows) as text on one line each."""
    heads = [" ".join(str(column.header).split()) for column in made.columns]
    return heads, [[str(cell) for cell in row] for row in zip(*(column.cells for column in made.columns))]


def markdown(made: Table) -> str:
    heads, rows = _rows(made)
    lines = [f"## {made.title}", "", f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([*lines, *(["", str(made.caption)] if made.caption else [])])


class HtmlRow(NamedTuple):
    """cells: as text. attributes: of the <tr>, ours alone and never from a log."""

    cells: list[str]
    attributes: str = ""


def html_table(title: str, heads: list[str], sides: list[str], rows: list[HtmlRow], note: str = "") -> str:
    """A heading and a <table> in a box that scrolls sideways. sides: a column's class, left, right or words."""

    def line(tag: str, cells: list[str]) -> str:
        return "".join(f'<{tag} class="{side}">{_broken(cell, side)}</{tag}>' for side, cell in zip(sides, cells))

    body = "\n".join(f"<tr{row.attributes and ' '}{row.attributes}>{line('td', row.cells)}</tr>" for row in rows)
    name = html.escape(title)
    return (
        f'<h3>{name}</h3>\n<div class="wide" role="region" tabindex="0" aria-label="{name}">'
        f"<table><thead><tr>{line('th', heads)}</tr></thead>\n<tbody>{body}</tbody></table></div>"
        + (f"<p>{html.escape(note)}</p>" if note else "")
    )


def _broken(cell: str, side: str) -> str:
    """The text escaped; names, often of files, may be broken after an underscore, where figures never are."""
    text = html.escape(cell)
    return text if side == "right" else text.replace("_", "_<wbr>")


def as_html(made: Table) -> str:
    """Figures to the right, as in the terminal; words in lines as long as there is room for."""
    heads, rows = _rows(made)
    sides = ["right" if column.justify != "left" else "words" if n else "left" for n, column in enumerate(made.columns)]
    return html_table(str(made.title), heads, sides, list(map(HtmlRow, rows)), str(made.caption or ""))


def as_html_by_row(made: Table) -> str:
    """A table that has a column a run, with a row a run instead: many runs then go down the page, not across it."""
    heads, rows = _rows(made)
    columns = [[head, *cells] for head, cells in zip(heads, zip(*rows))]
    names, *runs = columns
    return html_table(
        str(made.title),
        ["run", *names[1:]],
        ["left", *["right"] * len(rows)],
        list(map(HtmlRow, runs)),
        str(made.caption or ""),
    )

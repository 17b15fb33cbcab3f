"""Tables for people: rich ones in a terminal, the same as Markdown or HTML."""

import html
import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.errors import printable


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
    """Print in the terminal's width, or in `width` columns where there is none."""
    console = Console(width=None if sys.stdout.isatty() else width)
    for made in tables:
        console.print(made)


def _rows(made: Table) -> tuple:
    """(heads, rows) as text on one line each."""
    heads = [" ".join(str(column.header).split()) for column in made.columns]
    return heads, [[str(cell) for cell in row] for row in zip(*(column.cells for column in made.columns))]


def markdown(made: Table) -> str:
    heads, rows = _rows(made)
    lines = [f"## {made.title}", "", f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([*lines, *(["", str(made.caption)] if made.caption else [])])


def as_html(made: Table) -> str:
    """A <table> with its heading; figures to the right, as in the terminal."""
    heads, rows = _rows(made)
    sides = ["left" if column.justify == "left" else "right" for column in made.columns]

    def line(tag: str, cells: list) -> str:
        return "".join(f'<{tag} class="{side}">{html.escape(cell)}</{tag}>' for side, cell in zip(sides, cells))

    body = "\n".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    caption = f"<p>{html.escape(str(made.caption))}</p>" if made.caption else ""
    return f"<h2>{html.escape(str(made.title))}</h2>\n<table><tr>{line('th', heads)}</tr>\n{body}</table>{caption}"

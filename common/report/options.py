"""What a user asks of tables, and how figures stand in them."""

from typing import Any, NamedTuple, Optional


class Options(NamedTuple):
    """Options for the tables. target: a score; None takes what the log says. epochs: for the time to so many."""

    target: Optional[float] = None
    epochs: int = 16


def show(value: Any, form: str = "") -> str:
    """A cell: the value in this format, a dash for None, and what is not of the format as it is."""
    if value is None:
        return "-"
    try:
        return format(value, form) if form else str(value)
    except (TypeError, ValueError, OverflowError):  # a log may hold words or lists where a number belongs
        return str(value)

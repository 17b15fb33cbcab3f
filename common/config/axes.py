"""Axes of a grid: settings with several values each, `key=a,b` on the command line, and all their combinations."""

import itertools
import re
from collections.abc import Iterable
from typing import Callable, NamedTuple

from common.errors import UserError


class Axis(NamedTuple):
    """A setting's full name and its values, as text."""

    key: str
    values: list[str]


def parse_axes(option: str, texts: Iterable[str], overrides: Iterable[str] = ()) -> list[Axis]:
    """Parse `key=a,b` texts. A list in brackets, such as [1,2], is one value.

    Args:
        option: the option that the texts were given to, such as --sweep, for messages.
        texts: one for each axis.
        overrides: `key=value` texts from the same command line, whose keys cannot be axes as well.

    Raises:
        UserError: if a text has another form, quotes or a value twice, or if a key is given twice.
    """
    axes = [_parse(option, text) for text in texts]
    keys = [axis.key for axis in axes]
    others = {override.partition("=")[0].strip() for override in overrides}
    for key in keys:
        if keys.count(key) > 1 or key in others:
            raise UserError(f"{option}: '{key}' is given twice: give all of its values to one {option}")
    return axes


def _parse(option: str, text: str) -> Axis:
    key, sign, values_text = text.partition("=")
    if any(quote in text for quote in "'\""):
        raise UserError(f"{option} {text}: leave out the quotes; only a value in brackets, [...], can contain commas")
    values = _split(values_text)
    if not (sign and key.strip() and all(values)) or len(set(values)) < len(values):
        raise UserError(
            f"{option} '{text}': expected key=a,b with values that differ, such as optimizer.start_lr=0.01,0.001"
        )
    return Axis(key.strip(), values)


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets."""
    values, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and not depth:
            values.append("")
        else:
            values[-1] += character
    return [value.strip() for value in values]


def combinations(axes: list[Axis]) -> list[tuple[str, ...]]:
    """Return every combination of the axes' values, each as overrides `key=value` in the order of the axes."""
    return list(itertools.product(*([f"{axis.key}={value}" for value in axis.values] for axis in axes)))


def check_combinations(axes: list[Axis], load: Callable[[list[str]], object]) -> None:
    """Load the settings of every combination, so that a mistake shows before the first one is run.

    Args:
        axes: the grid's axes.
        load: loads the settings with the given overrides; raises UserError if they are not valid.
    """
    for overrides in combinations(axes):
        load(list(overrides))


def name_of(words: Iterable[str]) -> str:
    """Join words to a valid file name."""
    return re.sub(r"[^\w.=+-]+", "_", "-".join(words)).lstrip("-")


def names_of(all_words: Iterable[Iterable[str]]) -> list[str]:
    """Join each one's words to a file name that no other one has: /a/b and /a_b would both be _a_b."""
    names: list[str] = []
    for name in map(name_of, all_words):
        number = 2
        chosen = name
        while chosen in names:
            chosen, number = f"{name}-{number}", number + 1
        names.append(chosen)
    return names

"""Settings that take several values each, `key=a,b` on the command line, and every combination of them."""

import itertools
import re
from collections.abc import Iterable
from typing import Callable, NamedTuple

from common.errors import UserError


class Axis(NamedTuple):
    """A setting's full name and its values, as they are written."""

    key: str
    values: list[str]


def parse_axes(option: str, texts: Iterable[str], overrides: Iterable[str] = ()) -> list[Axis]:
    """Read `key=a,b` texts; a list, [1,2], is one value.

    Args:
        option: the option that the texts were given to, such as --sweep, for messages.
        texts: one for each axis.
        overrides: `key=value` texts given besides.

    Raises:
        UserError: if a text has another form, a value twice or quotes, or if a key is given twice.
    """
    axes = [_parse(option, text) for text in texts]
    keys = [axis.key for axis in axes]
    others = {override.partition("=")[0].strip() for override in overrides}
    for key in keys:
        if keys.count(key) > 1 or key in others:
            raise UserError(f"{option}: '{key}' is given twice: give all of its values to one {option}")
    return axes


def _parse(option: str, text: str) -> Axis:
    key, sign, after = text.partition("=")
    if any(quote in text for quote in "'\""):
        raise UserError(f"{option} {text}: leave the quotes out; a value cannot hold a comma but within [...]")
    values = _split(after)
    if not (sign and key.strip() and all(values)) or len(set(values)) < len(values):
        raise UserError(
            f"{option} '{text}': expected key=a,b with values that differ, such as optimizer.start_lr=0.01,0.001"
        )
    return Axis(key.strip(), values)


def _split(text: str) -> list[str]:
    """Split at commas that stand in no brackets."""
    values, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and not depth:
            values.append("")
        else:
            values[-1] += character
    return [value.strip() for value in values]


def combinations(axes: list[Axis]) -> list[tuple[str, ...]]:
    """Return every value of each axis with every value of the others, as overrides `key=value`."""
    return list(itertools.product(*([f"{axis.key}={value}" for value in axis.values] for axis in axes)))


def check_combinations(axes: list[Axis], load: Callable[[list[str]], object]) -> None:
    """Load the settings of each combination, so that a typo costs seconds. load: them with overrides."""
    for chosen in combinations(axes):
        load(list(chosen))


def name_of(words: Iterable[str]) -> str:
    """Join words to a name that a file can have."""
    return re.sub(r"[^\w.=+-]+", "_", "-".join(words))

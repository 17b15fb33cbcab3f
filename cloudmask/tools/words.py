"""A command line of sources, and of settings by which they are read."""

import re
from typing import NamedTuple

_SETTING = re.compile(r"[\w.]+=")  # a path may have the sign too, behind a slash: /data/year=2026


class Words(NamedTuple):
    sources: list[str]
    settings: list[str]


def sort(words: list[str]) -> Words:
    """Paths, and settings of the form section.key=value, each in their order."""
    settings = [word for word in words if _SETTING.match(word)]
    return Words([word for word in words if word not in settings], settings)

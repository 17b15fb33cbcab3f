"""Which code this is, and where the recipes and job scripts that come with it are.

In a checkout the folders config/ and jobs/ stand beside this package. A wheel has them inside it, in _share/, where
setup.py has them put; _share/ holds them as they stand in the checkout, so that they find each other in the same way.
"""

import re
from importlib import metadata
from pathlib import Path
from typing import Optional

DISTRIBUTION = "tf-science-segmentation"
PACKAGE = Path(__file__).resolve().parent

CHECKOUT: Optional[Path] = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None
"""The folder of the checkout that this code is run from; None for an installed package."""
_IN_THE_WHEEL = PACKAGE / "_share"
_SHARE = CHECKOUT or _IN_THE_WHEEL

RECIPES = _SHARE / "config"
JOBS = _SHARE / "jobs"


def sources(package: Path) -> list[Path]:
    """Return the Python files of a package's folder, sorted, the same in a checkout and installed."""
    return [path for path in sorted(package.rglob("*.py")) if _IN_THE_WHEEL not in path.parents]


def version() -> str:
    """Return the installed package's version; in a checkout that of its pyproject.toml, with "+checkout"."""
    if CHECKOUT is None:
        return metadata.version(DISTRIBUTION)
    # Not the metadata's: another version may be installed besides. Python has no reader of TOML before 3.11.
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    line = re.search(r'^version = "([^"]+)"$', text, re.MULTILINE)
    return f"{line[1] if line else '0'}+checkout"

"""Gathers the pages of the site: python -m docs.site FOLDER. `make docs` does this, and then builds them.

Pages lie in FOLDER as they do in this project, so that their links hold. Reference pages of the commands and of the
Python interface are generated into it; they are not kept in git.
"""

import shutil
import sys
from pathlib import Path

from docs.site import commands, interface

ROOT = Path(__file__).resolve().parents[2]


def pages() -> list[Path]:
    """Return all written pages and their pictures, relative to the project's folder."""
    docs = [path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in (".md", ".png")]
    return [path.relative_to(ROOT) for path in [*sorted(ROOT.glob("*.md")), ROOT / "jobs" / "README.md", *docs]]


def gather(folder: Path) -> None:
    """Write the site's pages to `folder`, whose earlier content is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in pages():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    generated = {"commands.md": commands.page(), **interface.pages(ROOT)}
    for name, text in generated.items():
        path = folder / "docs" / "reference" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit((__doc__ or "").rstrip())
    gather(Path(sys.argv[1]))

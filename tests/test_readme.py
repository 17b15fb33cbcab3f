"""README.md says what is so."""

import re

from cloudmask.config import Config
from common.config import as_markdown
from tests.helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_program_s():
    rows = [line for line in README.splitlines() if re.match(r"\| `[a-z_.]+` \|", line)]
    assert rows == as_markdown(Config)


def test_every_make_target_and_file_that_it_names_exists():
    targets = set(re.findall(r"make ([a-z-]+)", README)) - {"a"}
    makefile = (ROOT / "Makefile").read_text()
    assert targets >= {"demo", "test", "bench", "venv"}
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []
    files = re.findall(r"\b((?:config|common|jobs|tests)/[\w./]*\w)", README)
    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []

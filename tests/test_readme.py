"""README.md says what is so."""

import re

import cloudmask.config
import tf_deepcam.config
from common.config.render import as_markdown
from tests.helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_of_settings_are_the_programs():
    rows = [line for line in README.splitlines() if re.match(r"\| `[a-z_.0-9]+` \|", line)]
    first, second = as_markdown(cloudmask.config.Config), as_markdown(tf_deepcam.config.Config)
    assert rows == first + [row for row in second if row not in first]


def test_every_make_target_and_file_that_it_names_exists():
    targets = set(re.findall(r"make ([a-z-]+)", README)) - {"a"}
    makefile = (ROOT / "Makefile").read_text()
    assert targets >= {"demo", "test", "bench", "venv"}
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []
    files = re.findall(r"\b((?:config|common|jobs|tests)/[\w./]*\w)", README)
    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []

"""README.md and docs/ say what is so."""

import re

import pytest

from cloudmask.research.config import ClusterSettings, StudySettings
from common.config.render import as_markdown, setting_rows
from common.launching.launch import sites
from tests.helpers import ROOT, run

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "jobs" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_docs_settings_is_what_the_command_writes():
    output = run("-m", "common.config", "docs")
    assert output.stdout == (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")


def test_the_settings_of_study_and_cluster_are_in_cloudmask_s_page():
    rows = setting_rows(StudySettings, "study.") + setting_rows(ClusterSettings, "cluster.")
    assert as_markdown(rows) in (ROOT / "docs" / "reference" / "cloudmask.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_and_file_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []
    files = re.findall(r"\b((?:config|common|cloudmask|tf_deepcam|jobs|tests|docs)/[\w./-]*\w)", text)
    assert [name for name in files if not (ROOT / name).exists()] == []
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    here = [link for link in links if not link.startswith("https://")]
    assert [link for link in here if not (page.parent / link).exists()] == []


def test_the_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 70


def test_the_table_of_sites_lists_every_script():
    text = (ROOT / "jobs" / "README.md").read_text()
    assert [site.script.name for site in sites().values() if f"`{site.script.name}`" not in text] == []


@pytest.mark.parametrize("benchmark", ["cloudmask", "deepcam"])
def test_config_show_prints_every_key_with_its_meaning(benchmark):
    """As docs/reference/settings.md says it does."""
    output = run("-m", "common.config", "show", benchmark)
    assert output.returncode == 0
    table = run("-m", "common.config", "table", benchmark).stdout
    rows = re.findall(r"^\| `([\w.]+)` \| `.*?` \| (.*) \|$", table, re.MULTILINE)
    assert 60 < len(rows) <= 90  # a setting needs a reason that a user would give
    for key, meaning in rows:
        last = key.split(".")[-1]
        assert re.search(rf"^ *{last}: .*  # {re.escape(meaning.replace(chr(92), ''))}$", output.stdout, re.MULTILINE)

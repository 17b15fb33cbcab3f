"""README.md and docs/ say what is so."""

import ast
import io
import re
import shutil
import tokenize
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from cloudmask.research.config import ClusterSettings, StudySettings
from common.config.render import as_markdown, setting_rows
from common.launching.launch import sites
from docs.site import __main__ as site
from docs.site import interface
from tests.helpers import ROOT, run

PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "jobs" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("common", "cloudmask", "tf_deepcam")
PROGRAMS = [path for package in (*PACKAGES, "tests") for path in sorted((ROOT / package).rglob("*.py"))]
OTHERS = [
    *(ROOT / name for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-dev.txt")),
    *sorted((ROOT / "config").rglob("*.yaml")),
    *sorted(path for path in (ROOT / "jobs").rglob("*") if path.is_file() and path.suffix not in (".md", ".py")),
]
# The reference's script, a generator of real products' twins, and Horovod's own.
OF_OTHERS = {"run_training_cori.sh", "make_rbt.py", "setup.py"}
# Files that are named like modules: `cloudmask.log` is a run's.
NO_MODULES = re.compile(r"\.(log|sh|md|png|py|csv|json|slurm)$")


def test_docs_settings_is_what_the_command_writes():
    output = run("-m", "common.config", "docs")
    assert output.stdout == (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")


def test_the_settings_of_study_and_cluster_are_in_cloudmask_s_page():
    rows = setting_rows(StudySettings, "study.") + setting_rows(ClusterSettings, "cluster.")
    assert as_markdown(rows) in (ROOT / "docs" / "reference" / "cloudmask.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_exists(page):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page):
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", without_code(page.read_text(encoding="utf-8"))):
        if not link.startswith("https://"):
            target = page.parent / link if link else page
            assert target.exists(), f"{page}: {link}"
            assert not anchor or anchor in anchors(target), f"{page}: {link}#{anchor}"


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub and MkDocs name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return set(map(slug, headings))


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def comments_and_docstrings(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return "\n".join(re.findall(r"(?:^|\s)#\s(.*)", text))
    tree = ast.parse(text)
    parts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, (ast.Module, *DEFINITIONS))]
    parts += [
        each.string for each in tokenize.generate_tokens(io.StringIO(text).readline) if each.type == tokenize.COMMENT
    ]
    return "\n".join(parts)


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def names_in(body: list) -> dict:
    """What a module or a class defines or imports, by name, wherever a condition puts it."""
    names = {}
    for node in body:
        if isinstance(node, DEFINITIONS):
            names[node.name] = node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update({(alias.asname or alias.name).split(".")[0]: node for alias in node.names})
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(
                {each.id: node for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
            )
        else:
            for inner in ("body", "orelse", "handlers"):
                names.update(names_in(getattr(node, inner, [])))
    return names


@cache
def exists(name: str) -> bool:
    """A dotted name of ours: a package, a module, or what stands in it."""
    words = name.split(".")
    for count in range(len(words), 0, -1):
        place = ROOT.joinpath(*words[:count])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.is_file():
            body = ast.parse(file.read_text(encoding="utf-8")).body
            for word in words[count:]:
                names = names_in(body)
                if word not in names:
                    return False
                body = getattr(names[word], "body", [])
            return True
        if place.is_dir():
            return count == len(words)
    return False


def test_what_is_a_name_of_ours():
    assert all(map(exists, ("common.training.task.Task", "common.data.order", "cloudmask.network")))
    assert not any(map(exists, ("common.training.task.Tusk", "common.trainings", "tf_deepcam.formats")))


def dead_names(text: str) -> set[str]:
    """Dotted names, paths and file names that are nowhere in this project."""
    names = set(re.findall(rf"(?<![\w./-])((?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+)", text))
    paths = set(re.findall(rf"(?<![\w./-])((?:{'|'.join(PACKAGES)}|config|docs|jobs|tests)/[\w./-]*\w)", text))
    files = set(re.findall(r"(?<![\w./-])([\w/-]+\.(?:py|sh|slurm|lsf))\b", text)) - OF_OTHERS
    dead = {name for name in names if not NO_MODULES.search(name) and not exists(name)}
    dead |= {name for name in paths if not (ROOT / name).exists()}
    return dead | {name for name in files if not any(f"/{each}".endswith(f"/{name}") for each in all_files())}


def test_names_and_paths_in_pages_docstrings_and_comments_exist():
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    texts |= {path: comments_and_docstrings(path) for path in [*PROGRAMS, *OTHERS]}
    dead = {str(path.relative_to(ROOT)): dead_names(text) for path, text in texts.items()}
    assert {path: names for path, names in dead.items() if names} == {}


def test_pages_and_sections_that_programs_cite_exist():
    """In their messages too."""
    problems = []
    for path in [*PROGRAMS, *OTHERS]:
        text = re.sub(r'"\n\s*f?"|\n#\s*', " ", path.read_text(encoding="utf-8"))
        for page, _, section in re.findall(r"\b(docs/[\w./-]+\.md)(?:(?:,| says under) ([\"'])(.+?)\2)?", text):
            if not (ROOT / page).is_file() or (section and slug(section) not in anchors(ROOT / page)):
                problems.append(f"{path.relative_to(ROOT)}: {page} {section}")
    assert problems == []


@cache
def all_files() -> list[str]:
    folders = (*PACKAGES, "config", "docs", "findings", "jobs", "tests")
    return [str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]


def test_every_page_has_a_place_in_the_site():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [str(page) for page in site.pages() if page.suffix == ".md" and f" {page}\n" not in navigation] == []


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    """A folder with mkdocs.yml and the site's pages where it looks for them."""
    folder = tmp_path_factory.mktemp("site")
    output = run("-m", "docs.site", folder / "site" / "pages")
    assert output.returncode == 0, output.stdout
    shutil.copy(ROOT / "mkdocs.yml", folder)
    return folder


def test_generated_pages_name_every_command_and_public_module(gathered):
    reference = gathered / "site" / "pages" / "docs" / "reference"
    text = (reference / "commands.md").read_text(encoding="utf-8")
    assert {"### python -m cloudmask train", "### python -m tf_deepcam export", "## python -m common.run"} <= set(
        text.splitlines()
    )
    assert "--resume [FOLDER]" in text
    pages = (reference / "python").glob("*.md")
    assert set(re.findall(r"python/([\w.]+)\.md", (reference / "python.md").read_text(encoding="utf-8"))) == {
        page.stem for page in pages
    }
    task = (reference / "python" / "common.training.md").read_text(encoding="utf-8")
    assert "## common.training.task\n" in task
    assert "### Task\n\n```python\nclass Task" in task


def test_a_docstring_as_markdown():
    docstring = """Sum a_b * c.

a      first
b      second

Args:
    values: [N] in kelvin,
        all of them.
    scale: `None` is 1.

Returns:
    The sum.

Raises:
    UserError: if N is 0."""
    assert interface.markdown(docstring) == (
        "Sum a\\_b \\* c.\n\n```\na      first\nb      second\n```\n\n"
        "**Args**\n\n- `values`: \\[N\\] in kelvin, all of them.\n- `scale`: `None` is 1.\n\n"
        "**Returns**\n\nThe sum.\n\n**Raises**\n\n- `UserError`: if N is 0.\n"
    )


@pytest.mark.skipif(not find_spec("mkdocs"), reason="MkDocs is not installed (requirements-dev.txt)")
def test_the_site_builds_without_a_warning(gathered):
    output = run("-m", "mkdocs", "build", "--strict", "-f", gathered / "mkdocs.yml")
    assert output.returncode == 0, output.stdout
    assert (gathered / "site" / "html" / "docs" / "reference" / "commands.html").is_file()


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

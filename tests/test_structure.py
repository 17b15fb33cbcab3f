"""The house as docs/structure.md draws it: rooms import downwards only, and no file is in a circle."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from common.cli.registry import benchmarks
from common.config.recipes import settings_of
from common.config.settings import Settings
from tests.helpers import ROOT

PACKAGES = ("common", "cloudmask", "tf_deepcam")


def drawn(group: str) -> list[str]:
    """The rooms of a group from the ground up, as the page draws them."""
    text = (ROOT / "docs/structure.md").read_text(encoding="utf-8")
    picture = re.search(rf"^{group} +(.+(?:\n +.+)*)", text, re.MULTILINE)
    assert picture
    return re.split(r"\s*[<,]\s*", picture[1].strip())


# A room imports rooms that stand before it, and files of its own.
COMMON, BENCHMARK = drawn("common"), drawn("benchmarks")


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Modules of this project that a file imports, wherever in it, for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for name in node.names:
                module = f"{node.module}.{name.name}"
                found.add(module if is_module(module) else str(node.module))
        elif isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
    return {name for name in found if name.split(".")[0] in PACKAGES}


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").is_file()


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(name: str) -> str:
    """The second word of a module's name; a package itself is no room."""
    return [*name.split("."), ""][1]


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_downwards_only(package):
    order = COMMON if package == "common" else BENCHMARK
    for path in (path for path in sources() if module(path).split(".")[0] == package):
        own = room(module(path))
        assert not own or own in order, f"{path}: {own} has no place in the order of rooms"  # a package itself has none
        for name in imports(path):
            if own and name.split(".")[0] == package and room(name) and room(name) != own:
                assert order.index(room(name)) < order.index(own), f"{path} imports {name}, which stands above it"


def test_common_imports_no_benchmark_and_benchmarks_do_not_import_each_other():
    for path in sources():
        package = module(path).split(".")[0]
        others = {name.split(".")[0] for name in imports(path)} - {package, "common"}
        assert others == set(), f"{path} imports {others}"


def setting_names(model: type[BaseModel]) -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        inner = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        names |= setting_names(field.annotation) if inner else {name}
    return names


def subclasses(model: type) -> list[type]:
    return [each for direct in model.__subclasses__() for each in (direct, *subclasses(direct))]


def words_of_benchmarks() -> set[str]:
    """Names, scores, settings of their own, and whose results their forms are for."""
    words = {"esif", "nersc", "epcc", "iou", "f1", "pixel_accuracy", "accuracy_all_pixels", "accuracy_measured_pixels"}
    configs = [settings_of(benchmark).Config for benchmark in benchmarks().values()]
    own = set[str]().union(*map(setting_names, configs))
    common = [each for each in subclasses(Settings) if each.__module__.startswith("common.")]
    # Names that are anybody's: of shared settings, of one word, and of arguments.
    own -= set[str]().union(*map(setting_names, common)) | {"batch_size", "at_once", "saved_model"}
    words |= {name for name in own if "_" in name}
    for benchmark in benchmarks().values():
        words |= {benchmark.name, benchmark.package, benchmark.score}
    return words


def test_common_names_no_benchmark_its_scores_or_its_settings():
    """Not in code, messages, docstrings or comments."""
    forbidden = re.compile(rf"(?i)\b({'|'.join(sorted(words_of_benchmarks()))})\b")
    for path in (path for path in sources() if module(path).split(".")[0] == "common"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not forbidden.search(line), f"{path}:{number}: {line.strip()}"


def test_no_file_is_in_a_circle_of_imports():
    graph = {module(path): imports(path) for path in sources()}
    done: set[str] = set()

    def visit(name: str, above: tuple) -> None:
        assert name not in above, f"a circle: {' -> '.join((*above, name))}"
        if name not in done:
            for other in graph.get(name, ()):
                if other != name:
                    visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_files_are_short():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {path: length for path, length in lengths.items() if length >= 300} == {}


def test_only_one_room_imports_horovod():
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if any(str(name).startswith("horovod") for name in names):
                assert room(module(path)) == "distributed", path


def test_keras_is_tensorflow_s_everywhere():
    """tf.keras is Keras 2 by whatever name it has there; a module `keras` of its own is Keras 3 from 2.16 on."""
    for path in [*sources(), *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            assert {str(name).split(".")[0] for name in names}.isdisjoint({"keras", "tf_keras"}), path

"""Recipes: those that come with the program, and which benchmark one is for, by its `benchmark:` key."""

import difflib
import importlib
from pathlib import Path
from typing import Any

from common import resources
from common.cli.registry import Benchmark, benchmarks, find
from common.config.yaml_files import read_yaml
from common.errors import UserError, storage_problem


def benchmark_of(path: str) -> Benchmark:
    """Return the benchmark that a YAML file is for.

    Raises:
        UserError: if the file has no `benchmark:` key, or names an unknown benchmark.
    """
    tree, lines = read_yaml(path)
    if "benchmark" not in tree:
        raise UserError(
            f"{path}: does not say which benchmark it is for; begin it with `benchmark: {' | '.join(benchmarks())}`"
        )
    return find(tree["benchmark"], f"{path}:{lines[('benchmark',)]}")


def job_command(path: str, benchmark: Benchmark) -> str:
    """Return the command that a job script runs with a recipe.

    It is the benchmark's own for jobs, but for a recipe that has none of the settings of training and the section of
    another command (`Benchmark.sections`).
    """
    tree, _ = read_yaml(path)
    others = [command for section, command in benchmark.sections if section in tree and "training" not in tree]
    return others[0] if others else benchmark.job_command


def settings_of(benchmark: Benchmark) -> Any:
    """Return the benchmark's config module, with `Config`, the model of its settings, and `load`."""
    return importlib.import_module(f"{benchmark.package}.config")


def shipped() -> dict[str, Path]:
    """Return the recipes that come with the program, by name: "FOLDER/FILE" without the ending."""
    files = sorted(resources.RECIPES.glob("*/*.yaml"))
    return {f"{file.parent.name}/{file.stem}": file for file in files}


def title(recipe: Path) -> str:
    """Return a recipe's first line, which says what it is for."""
    with recipe.open(encoding="utf-8") as lines:
        return lines.readline().removeprefix("#").strip()


def copy(name: str) -> Path:
    """Copy a shipped recipe into the current folder.

    Args:
        name: as `shipped` has it.

    Returns:
        The copy, FOLDER-FILE.yaml.

    Raises:
        UserError: if there is no such recipe, or a file of the copy's name.
    """
    known = shipped()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else "`python -m common.config list` names them"
        raise UserError(f"there is no recipe '{name}': {hint}")
    target = Path(f"{name.replace('/', '-')}.yaml")
    try:
        with target.open("xb") as file:
            file.write(known[name].read_bytes())
    except FileExistsError:
        raise UserError(
            f"{target}: exists already, and is left as it is: move it away, or go to another folder"
        ) from None
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({storage_problem(error, Path.cwd())})") from error
    return target

"""Print settings, for people and for editors: python -m common.config COMMAND ...

show BENCHMARK [FILE] [key=value ...]   the resolved settings, each with its meaning
table BENCHMARK                         a Markdown table of all keys, defaults and meanings
schema BENCHMARK                        a JSON schema for editors
program FILE                            the package and the command that run a recipe
docs                                    the text of docs/reference/settings.md
list                                    the recipes that come with the program
copy NAME                               one of them into the current folder, not over another file
"""

import json
import sys

from common.cli.program import run_program
from common.cli.registry import benchmarks, of_package
from common.config.recipes import benchmark_of, copy, job_command, settings_of, shipped, title
from common.config.render import as_markdown, dump, setting_rows, settings_page
from common.errors import UserError

# What a command lacks that is given alone.
_NEEDS = {
    **dict.fromkeys(
        ("show", "table", "schema"),
        "give a benchmark's name or package; `python -m common.config list` shows the recipes of each",
    ),
    "program": "give a recipe, a YAML file that begins with `benchmark:`",
    "copy": "give the name of a recipe; `python -m common.config list` shows them",
}


def main() -> int:
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(__doc__.rstrip())
        return 0
    command, *rest = words
    if command == "docs" and not rest:
        models = {benchmark.title: settings_of(benchmark).Config for benchmark in benchmarks().values()}
        print(settings_page(models), end="")
    elif command == "list" and not rest:
        known = shipped()
        width = max(map(len, known), default=0)
        print("\n".join(f"{name:{width}}  {title(recipe)}" for name, recipe in known.items()))
    elif command == "copy" and len(rest) == 1:
        print(f"written: {copy(rest[0])}")
    elif command == "program" and len(rest) == 1:
        benchmark = benchmark_of(rest[0])
        settings_of(benchmark).load(rest[0])  # refuses what is for a command that no job runs
        print(benchmark.package, job_command(rest[0], benchmark))
    elif command in ("schema", "table") and len(rest) == 1:
        model = settings_of(of_package(rest[0])).Config
        schema = command == "schema"
        print(json.dumps(model.model_json_schema(), indent=2) if schema else as_markdown(setting_rows(model)))
    elif command == "show" and rest:
        files = [word for word in rest[1:] if "=" not in word]
        overrides = [word for word in rest[1:] if "=" in word]
        if len(files) > 1:
            raise UserError(f"show takes one file, but {len(files)} were given: {' '.join(files)}")
        print(dump(settings_of(of_package(rest[0])).load(files[0] if files else None, overrides)), end="")
    elif command in _NEEDS and not rest:
        raise UserError(f"{command}: {_NEEDS[command]}")
    else:
        raise UserError(
            f"'{' '.join(words)}' is not a command of common.config, or not all of one: see "
            "`python -m common.config --help`"
        )
    return 0


def command() -> None:
    """The console command; leaves the process."""
    run_program(main)


if __name__ == "__main__":
    command()

"""python -m common.config schema|table PACKAGE, or show PACKAGE [FILE] [key=value ...]"""

import importlib
import json
import sys
from typing import Any

from common.config.render import as_markdown, dump
from common.errors import UserError
from common.program import run_program


def settings_of(package: str) -> Any:
    """The config module of a benchmark package, by its name."""
    try:
        return importlib.import_module(f"{package}.config")
    except ImportError as error:
        raise UserError(f"no benchmark package named '{package}' here") from error


def main() -> int:
    usage = "usage: python -m common.config schema|table PACKAGE, or show PACKAGE [FILE] [key=value ...]"
    command, package, *rest = (*sys.argv[1:], "", "")[: max(2, len(sys.argv) - 1)]
    if command not in ("schema", "table", "show") or not package:
        raise UserError(usage)
    module = settings_of(package)
    if command == "schema":
        print(json.dumps(module.Config.model_json_schema(), indent=2))
    elif command == "table":
        print("\n".join(["| key | default | meaning |", "| --- | --- | --- |", *as_markdown(module.Config)]))
    else:
        files = [text for text in rest if "=" not in text and text]
        print(dump(module.load(files[0] if files else None, [text for text in rest if "=" in text])), end="")
    return 0


if __name__ == "__main__":
    run_program(main)

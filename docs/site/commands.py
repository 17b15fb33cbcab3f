"""The page of all commands: what each program prints for --help."""

import contextlib
import io
import os
import runpy
import sys
from unittest import mock

from common.cli.registry import benchmarks

SHARED = ("common.run", "common.launch", "common.report", "common.export", "common.config", "common.scaling")


def page() -> str:
    """Return the page in Markdown."""
    parts = ["# Commands\n\nWhat each program prints for `--help`.\n"]
    for benchmark in benchmarks().values():
        parts.append(_section(2, benchmark.package))
        parts += [_section(3, benchmark.package, name) for name in _commands(benchmark.package)]
    parts += [_section(2, module) for module in SHARED]
    return "\n".join(parts)


def _commands(package: str) -> list[str]:
    return list(runpy.run_module(package, run_name="commands")["COMMANDS"])


def _section(level: int, module: str, *words: str) -> str:
    title = " ".join(["python -m", module, *words])
    return f"{'#' * level} {title}\n\n```\n{help_text(module, *words)}\n```\n"


def help_text(module: str, *words: str) -> str:
    """Return what `python -m MODULE WORDS... --help` prints, run in this process, which saves a start for each.

    Raises:
        SystemExit: if the program ends with another exit code than 0.
    """
    printed = io.StringIO()
    arguments = mock.patch.object(sys, "argv", [f"python -m {module}", *words, "--help"])
    width = mock.patch.dict(os.environ, COLUMNS="100")
    leaving = mock.patch.object(os, "_exit", sys.exit)  # so that a program that fails does not take this one with it
    try:
        with arguments, width, leaving, contextlib.redirect_stdout(printed):
            runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    return printed.getvalue().rstrip()

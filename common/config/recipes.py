"""Which benchmark a YAML file is for, by its `benchmark:` key, and the settings of that benchmark."""

import importlib
from typing import Any

from common.cli.registry import Benchmark, benchmarks, find
from common.config.yaml_files import read_yaml
from common.errors import UserError


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


def settings_of(benchmark: Benchmark) -> Any:
    """Return the benchmark's config module, with `Config`, the model of its settings, and `load`."""
    return importlib.import_module(f"{benchmark.package}.config")

"""Where a step's or a pass's time goes: python -m tests.bench.primitives BENCHMARK KIND [PRECISION]

Such as `python -m tests.bench.primitives deepcam step mixed_bfloat16`. oneDNN prints each primitive that it executes
(ONEDNN_VERBOSE=1); the table adds up those of equal kind, implementation and shape over some units of work of
tests.bench.contestants.ours. What TensorFlow computes by itself (Eigen's sums, most of a batch norm) is the rest.
"""

import argparse
import subprocess
import sys
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from common.report import tables
from tests.helpers import ROOT, environment

UNITS = 5
SHOWN = 5


class Primitive(NamedTuple):
    """kind: with its direction. types: of the memory that it reads and writes, in order. shape: oneDNN's own
    description, such as mb1_ic728oc728_ih48oh48kh1sh1dh0ph0_..., or the product's dimensions."""

    kind: str
    implementation: str
    types: str
    shape: str


def executed(lines: list[str]) -> dict[Primitive, list[float]]:
    """Milliseconds of each execution, from oneDNN's lines; others are passed over."""
    found: dict[Primitive, list[float]] = defaultdict(list)
    for line in lines:
        words = line.strip().split(",")
        if words[0] != "onednn_verbose" or "exec" not in words:
            continue
        # After `exec`: engine, kind, implementation, direction, memory, attributes, algorithm, problem, milliseconds.
        # Implementations with a comma in their name are not known.
        kind, implementation, direction, memory = words[words.index("exec") + 2 :][:4]
        types = " ".join(part.split(":")[0].split("_")[-1] for part in memory.split() if "_undef" not in part)
        name = kind if direction == "undef" else f"{kind}, {direction}"
        found[Primitive(name, implementation, types, words[-2])].append(float(words[-1]))
    return dict(found)


def measured(*what: str) -> tuple[float, dict[Primitive, list[float]]]:
    """Median seconds of a unit of work, and what was executed in UNITS of them."""
    call = [sys.executable, "-m", "tests.bench.contestants", "ours", *what]
    done = subprocess.run(
        call,
        cwd=ROOT,
        env=environment(ONEDNN_VERBOSE="1"),
        input="next\n" * UNITS,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    answers = [number for number, line in enumerate(lines) if line.startswith("> ")]
    seconds = [float(lines[number][2:]) for number in answers[1:]]
    return float(np.median(seconds)), executed(lines[answers[0] :])  # behind the warm-up


def table(title: str, seconds: float, found: dict[Primitive, list[float]]) -> tables.PlainTable:
    total = sum(map(sum, found.values())) / UNITS
    shown = tables.table(f"{title}: {seconds:.2f} s, {total / 1e3:.2f} s of it in oneDNN", "primitive", "ms", "times")
    for column in ("implementation", "types", "shape"):
        shown.add_column(column, overflow="fold")
    slowest = sorted(found.items(), key=lambda item: -sum(item[1]))[:SHOWN]
    for primitive, times in slowest:
        kind, *others = primitive
        shown.add_row(kind, f"{sum(times) / UNITS:.0f}", f"{len(times) / UNITS:g}", *others)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.primitives", description=__doc__.splitlines()[0])
    parser.add_argument("benchmark", choices=["cloudmask", "deepcam"])
    parser.add_argument("kind", choices=["forward", "step"])
    parser.add_argument("precision", nargs="?", choices=["float32", "mixed_bfloat16"], default="float32")
    what = vars(parser.parse_args()).values()
    tables.show(table(", ".join(what), *measured(*what)), width=170)


if __name__ == "__main__":
    main()

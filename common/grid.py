"""Inference over a grid of settings, each combination in a process of its own; a table, a heat map, the best."""

import itertools
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple, Optional

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
import numpy as np
import yaml

from common.errors import UserError
from common.processes import Job, run
from common.report.tables import markdown, show, table
from common.runs.folder import Run, open_run


class Axes(NamedTuple):
    """What a benchmark's grid is over. package: `python -m PACKAGE infer` is run. keys: field of `inference.grid` to
    the setting that takes its values; the first goes down in the heat map, the second across. fixed: overrides of all
    runs."""

    package: str
    keys: dict[str, str]
    fixed: tuple[str, ...] = ()


def main(axes: Axes, config: Any, config_file: Optional[str], overrides: list) -> int:
    """Runs `infer` for every combination; one that fails is reported and the others are done. Exit code 1 then."""
    grid, keys = config.inference.grid, tuple(axes.keys)
    folder = open_run(config, config.output, f"{config.benchmark} grid")
    folder.say(f"run folder: {folder.path}")
    lists = [getattr(grid, key) for key in keys]
    cells, failed = [], []
    for number, values in enumerate(itertools.product(*lists), 1):
        name = "-".join(map(str, values))
        chosen = [f"{axes.keys[key]}={value}" for key, value in zip(keys, values)]
        chosen += [*axes.fixed, f"output.folder={folder.path}", f"output.run_name={name}"]
        print(f"{number} of {int(np.prod([len(each) for each in lists]))}: {' '.join(chosen[: len(keys)])}", flush=True)
        config_option = ["--config", config_file] if config_file else []
        command = [*_launcher(axes.package, grid.ranks), "infer", *config_option, *overrides, *chosen]
        problem = run(Job(name, command, folder / f"{name}.log"))
        if problem:
            failed.append(name)
            print(f"  failed: {problem}")
            continue
        result = json.loads((folder / name / "inference.json").read_text(encoding="utf-8"))
        rate = result["statistics"]["samples_per_second"]
        cells.append((dict(zip(keys, values)), rate["median"], rate["standard_deviation"]))
        print(f"  {rate['median']:.2f} samples/s", flush=True)
    if not cells:
        raise UserError(f"{folder.path}: every run of the grid failed; their logs are there")
    _report(folder, cells, axes)
    return 1 if failed else 0


def _launcher(package: str, ranks: int) -> list:
    program = [sys.executable, "-m", package]
    return program if ranks == 1 else [str(Path(sys.executable).with_name("horovodrun")), "-np", str(ranks), *program]


def _report(folder: Run, cells: list, axes: Axes) -> None:
    best, rate, _ = max(cells, key=lambda cell: cell[1])
    made = table("Grid", *(_words(key) for key in axes.keys), "samples/s", "std", "of the best")
    for values, median, deviation in cells:
        made.add_row(*map(str, values.values()), f"{median:.2f}", f"{deviation:.2f}", f"{100 * median / rate:.0f} %")
    show(made)
    (folder / "grid.md").write_text(markdown(made) + "\n", encoding="utf-8")
    (folder / "grid.json").write_text(
        json.dumps([{**values, "samples_per_second": median} for values, median, _ in cells], indent=1) + "\n",
        encoding="utf-8",
    )
    draw(cells, folder / "grid.png")
    print(f"written: {folder / 'grid.png'}, grid.md, grid.json")
    tree: dict = {}
    for field, value in best.items():
        *sections, key = axes.keys[field].split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    pasted = yaml.safe_dump(tree, sort_keys=False)
    print(f"the best, {rate:.2f} samples/s, to paste into a config:\n{pasted}")


def _words(key: str) -> str:
    return key.replace("max_", "").replace("_", " ")


def draw(cells: list, path: Path) -> None:
    """A heat map of samples/s: the first key down, the second across, one map for each combination of the others."""
    first, second, *others = cells[0][0]
    maps = sorted({tuple(values[key] for key in others) for values, _, _ in cells})
    down, across = (sorted({values[key] for values, _, _ in cells}) for key in (first, second))
    rates = {tuple(values.values()): median for values, median, _ in cells}
    highest = max(rates.values())
    figure, axes = plt.subplots(
        1, len(maps), figsize=(1.8 + 3.2 * len(maps), 3.4), layout="constrained", squeeze=False, sharey=True
    )
    for axis, chosen in zip(axes[0], maps):
        grid = np.array([[rates.get((row, column, *chosen), np.nan) for column in across] for row in down])
        image = axis.imshow(grid, vmin=0, vmax=highest, cmap="viridis")
        for (row, column), value in np.ndenumerate(grid):
            text = "failed" if np.isnan(value) else f"{value:.2f}"
            axis.text(column, row, text, ha="center", va="center", color="white" if value < 0.6 * highest else "black")
        axis.set_xticks(range(len(across)), across)
        axis.set_yticks(range(len(down)), down)
        axis.set_xlabel(_words(second))
        axis.set_title(", ".join(f"{_words(key)} {value}" for key, value in zip(others, chosen)))
    axes[0][0].set_ylabel(_words(first))
    figure.colorbar(image, ax=axes[0].tolist(), label="samples/s")
    figure.savefig(path, dpi=110)
    plt.close(figure)

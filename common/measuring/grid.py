"""Inference over a grid of settings, each combination in its own process: a table, a heat map, and the best one."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
import yaml
from matplotlib.figure import Figure

from common import figures
from common.config.axes import Axis, combinations, names_of
from common.config.settings import apply_overrides
from common.config.yaml_files import parse
from common.errors import UserError
from common.launching.processes import Job, horovodrun, run
from common.report.tables import markdown, show, table
from common.runs.files import whole, write_text
from common.runs.folder import Run, open_run


class Program(NamedTuple):
    """What a benchmark's grid runs, `python -m PACKAGE infer`. fixed: overrides for all runs."""

    package: str
    fixed: tuple[str, ...] = ()


class Cell(NamedTuple):
    """The result of one combination."""

    values: tuple[str, ...]  # as the user wrote them, in the order of the axes
    median: float  # samples/s over the passes
    deviation: float  # their standard deviation


class Choice(NamedTuple):
    """One run of the grid. name: of its folder. chosen: its values as overrides."""

    name: str
    values: tuple[str, ...]
    chosen: tuple[str, ...]


def main(program: Program, config: Any, axes: list[Axis], options: argparse.Namespace) -> int:
    """Run `infer` for every combination; if one fails, that is reported and the others run all the same.

    Args:
        program: what is run.
        config: the settings without those of the axes, for the grid's own folder.
        axes: what varies.
        options: --config, overrides and --ranks, for the runs.

    Returns:
        The exit code, 1 if any run failed.

    Raises:
        UserError: if every run failed.
    """
    all_overrides = combinations(axes)
    folder = open_run(config, config.output, f"{config.benchmark} grid")
    folder.begin()
    folder.say(f"run folder: {folder.path}")
    cells = []
    all_values = [tuple(override.split("=", 1)[1] for override in chosen) for chosen in all_overrides]
    for number, (name, values, chosen) in enumerate(zip(names_of(all_values), all_values, all_overrides), 1):
        print(f"{number} of {len(all_overrides)}: {' '.join(chosen)}", flush=True)
        cell = _run(program, options, folder, Choice(name, values, chosen))
        if cell is not None:
            cells.append(cell)
            print(f"  {cell.median:.2f} samples/s", flush=True)
    if not cells:
        raise UserError(f"{folder.path}: every run of the grid failed; their logs are in this folder")
    _report(folder, cells, axes)
    return 1 if len(cells) < len(all_overrides) else 0


def _run(program: Program, options: argparse.Namespace, folder: Run, choice: Choice) -> Optional[Cell]:
    name, values, chosen = choice
    config_option = ["--config", options.config] if options.config else []
    overrides = [*options.overrides, *chosen, *program.fixed, f"output.folder={folder.path}", f"output.run_name={name}"]
    command = [*_launcher(program.package, options.ranks), "infer", *config_option, *overrides]
    problem = run(Job(name, command, folder / f"{name}.log"))
    if problem:
        print(f"  failed: {problem}")
        return None
    result = json.loads((folder / name / "inference.json").read_text(encoding="utf-8"))
    rate = result["statistics"]["samples_per_second"]
    return Cell(values, rate["median"], rate["standard_deviation"])


def _launcher(package: str, ranks: int) -> list:
    program = [sys.executable, "-m", package]
    return program if ranks == 1 else [str(horovodrun()), "-np", str(ranks), *program]


def _report(folder: Run, cells: list[Cell], axes: list[Axis]) -> None:
    best = max(cells, key=lambda cell: cell.median)
    summary = table("Grid", *_labels(axes), "samples/s", "std", "of the best")
    for cell in cells:
        share = f"{100 * cell.median / best.median:.0f} %"
        summary.add_row(*cell.values, f"{cell.median:.2f}", f"{cell.deviation:.2f}", share)
    show(summary)
    write_text(folder / "grid.md", markdown(summary) + "\n")
    write_text(folder / "grid.json", json.dumps(_as_json(cells, axes), indent=1) + "\n")
    with whole(folder / "grid.png") as picture:
        draw(cells, axes, picture)
    print(f"written: {folder / 'grid.png'}, grid.md, grid.json")
    settings = yaml.safe_dump(_tree(axes, best.values), sort_keys=False)
    print(f"the best, {best.median:.2f} samples/s, to paste into a config:\n{settings}")


def _as_json(cells: list[Cell], axes: list[Axis]) -> list[dict]:
    keys = short([axis.key for axis in axes])
    rows = []
    for cell in cells:
        values = [parse(value, value).value for value in cell.values]
        rows.append({**dict(zip(keys, values)), "samples_per_second": cell.median})
    return rows


def _tree(axes: list[Axis], values: tuple[str, ...]) -> dict:
    tree: dict = {}
    apply_overrides(tree, [f"{axis.key}={value}" for axis, value in zip(axes, values)], {})
    return tree


def short(keys: list[str]) -> list[str]:
    """Return the last word of each key, or the whole keys if two of these words are the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return last if len(set(last)) == len(last) else keys


def _labels(axes: list[Axis]) -> list[str]:
    return [word.replace("max_", "").replace("_", " ") for word in short([axis.key for axis in axes])]


def draw(cells: list[Cell], axes: list[Axis], target: Path) -> Figure:
    """Draw heat maps of samples/s: the first axis down, the second across, one map per combination of the others.

    Args:
        cells: those that were measured.
        axes: what varied.
        target: the file to write.

    Returns:
        The figure, a panel for each map.
    """
    names = _labels(axes)
    down = axes[0].values
    across = axes[1].values if len(axes) > 1 else [""]
    rates = {(cell.values[0], "".join(cell.values[1:2]), cell.values[2:]): cell.median for cell in cells}
    maps = list(dict.fromkeys(cell.values[2:] for cell in cells))
    highest = max(rates.values())
    width, height = len(maps) * (0.6 + 0.75 * max(len(across), 2)), 1.2 + 0.5 * len(down)
    with figures.picture(target, (1.8 + width, max(height, 2.6)), 1, len(maps), sharey=True) as (figure, panels):
        for panel, others in zip(panels[0], maps):
            grid = np.array([[rates.get((row, column, others), np.nan) for column in across] for row in down])
            figures.unknown(panel)
            image = panel.imshow(grid, vmin=0, vmax=highest, cmap="cividis", aspect="auto")
            for (row, column), value in np.ndenumerate(grid):
                text = "failed" if np.isnan(value) else f"{value:.2f}"
                colour = "white" if value < 0.6 * highest else "black"
                panel.text(column, row, text, ha="center", va="center", color=colour)
            panel.set_xticks(range(len(across)) if len(axes) > 1 else [], across if len(axes) > 1 else [])
            panel.set_yticks(range(len(down)), down)
            panel.set_xlabel(names[1] if len(axes) > 1 else "")
            panel.set_title(", ".join(f"{name} {value}" for name, value in zip(names[2:], others)))
        panels[0][0].set_ylabel(names[0])
        figure.colorbar(image, ax=panels[0].tolist(), label="samples/s")
    return figure

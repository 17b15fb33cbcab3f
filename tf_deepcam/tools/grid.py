"""The inference benchmark over a grid of settings, each run in a process of its own; a table, a heat map, the best."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
import numpy as np
import yaml

from common.errors import UserError
from common.report.tables import markdown, show, table
from common.runs.folder import open_run
from tf_deepcam.config import Config

KEYS = ("max_inter_threads", "max_intra_threads", "batch_size", "precision")


def main(config: Config, config_file, overrides: list) -> int:
    """Runs `infer` for every combination; one that fails is reported and the others are done. Exit code 1 then."""
    folder = open_run(config, config.output, "deepcam grid")
    folder.say(f"run folder: {folder.path}")
    lists = [getattr(config.inference.grid, key) for key in KEYS]
    cells, failed = [], []
    for number, values in enumerate(itertools.product(*lists), 1):
        name = "-".join(map(str, values))
        chosen = [f"inference.{key}={value}" for key, value in zip(KEYS, values)]
        chosen += ["inference.score=false", "inference.predictions=none", "inference.outputfile=''"]
        chosen += [f"output.folder={folder.path}", f"output.run_name={name}"]
        print(f"{number} of {int(np.prod([len(each) for each in lists]))}: {' '.join(chosen[: len(KEYS)])}", flush=True)
        config_option = ["--config", config_file] if config_file else []
        done = subprocess.run(
            [*_launcher(config.inference.grid.ranks), "infer", *config_option, *overrides, *chosen],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        (Path(folder.path) / f"{name}.log").write_text(done.stdout, encoding="utf-8")
        if done.returncode:
            failed.append(name)
            line = next((line for line in done.stdout.splitlines() if "error:" in line), f"see {name}.log")
            print(f"  failed: {line.split('error: ')[-1]}")
            continue
        result = json.loads((folder / name / "inference.json").read_text(encoding="utf-8"))
        rate = result["statistics"]["samples_per_second"]
        cells.append((dict(zip(KEYS, values)), rate["median"], rate["standard_deviation"]))
        print(f"  {rate['median']:.2f} samples/s", flush=True)
    if not cells:
        raise UserError(f"{folder.path}: every run of the grid failed; their logs are there")
    _report(folder, cells)
    return 1 if failed else 0


def _launcher(ranks: int) -> list:
    program = [sys.executable, "-m", "tf_deepcam"]
    return program if ranks == 1 else [str(Path(sys.executable).with_name("horovodrun")), "-np", str(ranks), *program]


def _report(folder, cells: list) -> None:
    best, rate, _ = max(cells, key=lambda cell: cell[1])
    made = table(
        "Grid", *(key.replace("max_", "").replace("_", " ") for key in KEYS), "samples/s", "std", "of the best"
    )
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
    pasted = yaml.safe_dump({"inference": best}, sort_keys=False)
    print(f"the best, {rate:.2f} samples/s, to paste into a config:\n{pasted}")


def draw(cells: list, path: Path) -> None:
    """A heat map of samples/s for each batch size and precision: inter threads down, intra threads across."""
    maps = sorted({(values["batch_size"], values["precision"]) for values, _, _ in cells})
    down = sorted({values["max_inter_threads"] for values, _, _ in cells})
    across = sorted({values["max_intra_threads"] for values, _, _ in cells})
    rates = {tuple(values.values()): median for values, median, _ in cells}
    highest = max(rates.values())
    figure, axes = plt.subplots(
        1, len(maps), figsize=(1.8 + 3.2 * len(maps), 3.4), layout="constrained", squeeze=False, sharey=True
    )
    for axis, (batch, precision) in zip(axes[0], maps):
        grid = np.array([[rates.get((inter, intra, batch, precision), np.nan) for intra in across] for inter in down])
        image = axis.imshow(grid, vmin=0, vmax=highest, cmap="viridis")
        for (row, column), value in np.ndenumerate(grid):
            text = "failed" if np.isnan(value) else f"{value:.2f}"
            axis.text(column, row, text, ha="center", va="center", color="white" if value < 0.6 * highest else "black")
        axis.set_xticks(range(len(across)), across)
        axis.set_yticks(range(len(down)), down)
        axis.set_xlabel("threads within a batch")
        axis.set_title(f"batch {batch}, {precision}")
    axes[0][0].set_ylabel("batches at once")
    figure.colorbar(image, ax=axes[0].tolist(), label="samples/s")
    figure.savefig(path, dpi=110)
    plt.close(figure)

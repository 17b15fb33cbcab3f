"""The report of one run, built at its end: tables as report.md and curves as pictures/curves.png in the run's folder.

Everything comes from the run's own files; a figure that is not there is left out, not guessed. Several runs, and logs
of other programs, are compared by common.report.
"""

from pathlib import Path
from typing import Optional

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from common import figures
from common.cli.registry import Benchmark
from common.errors import UserError
from common.report.extension import Extension, Picture, extension_of
from common.report.tables import markdown, show, table
from common.runs.files import write_text
from common.runs.kinds import Epoch, Step, parse, select
from common.runs.records import evaluations_by_step, iterate, read_lines

_STEPS = 4000  # in a picture

_MARKED = 30  # values of a curve that get a mark each


def report(folder: Path, benchmark: Benchmark) -> None:
    """Print the report of one run, and leave it in the run's folder.

    Args:
        folder: of the run.
        benchmark: that was run.

    Raises:
        UserError: if it is not a run's folder.
    """
    starts = read_lines(folder / "environment.jsonl")
    if not starts:
        raise UserError(f"{folder}: is not a run folder (it has no environment.jsonl)")
    environment, extension = starts[-1], extension_of(benchmark)
    records, steps = _read(folder / "metrics.jsonl")
    epochs = list({epoch.epoch: epoch for epoch in select(Epoch, records)}.values())
    tables = [
        _run_table(environment),
        _training_table(epochs, benchmark.score, extension),
        *extension.tables(records),
    ]
    tables = [built for built in tables if built.row_count]
    show(*tables)
    draw_curves(steps, records, folder / "pictures", benchmark.score, extension)
    text = [f"# {environment['command']}: {folder.name}", *map(markdown, tables)]
    for picture in [Picture("training", "curves.png"), *extension.pictures(folder)]:
        if (folder / "pictures" / picture.file).is_file():
            text.append(f"![{picture.title}](pictures/{picture.file})")
    write_text(folder / "report.md", "\n\n".join(text) + "\n")
    print(f"report: {folder / 'report.md'}, pictures: {folder / 'pictures'}")


def _read(path: Path) -> tuple[list[dict], list[Step]]:
    """Return all records but the steps, and as many of the steps, evenly chosen, as a picture has room for."""
    records: list[dict] = []
    steps: list[Step] = []
    seen, stride = 0, 1
    for record in iterate(path):
        if record["kind"] != Step.kind:
            records.append(record)
            continue
        step = parse(Step, record) if seen % stride == 0 else None
        seen += 1
        if step is not None:
            steps.append(step)
        if len(steps) > _STEPS:
            steps, stride = steps[::2], 2 * stride
    return records, steps


def _run_table(environment: dict) -> Table:
    built = table("Run", "what", "value", text=True)
    gpus = len(environment["gpus"])
    machine = f"{environment['host']}, {environment['processor']}, {environment['cores']} cores, {gpus} GPUs"
    built.add_row("command", environment["command"])
    built.add_row("machine", machine)
    built.add_row("ranks, nodes", f"{environment['ranks']}, {environment['nodes']}")
    packages = environment["packages"]
    built.add_row(
        "versions", ", ".join(f"{name} {packages[name]}" for name in ("tensorflow", "horovod") if name in packages)
    )
    built.add_row("commit, started", f"{environment['commit'] or 'no git checkout'}, {environment['started']}")
    return built


def _training_table(epochs: list[Epoch], score: str, extension: Extension) -> Table:
    names = ("loss", score, *extension.epoch_scores)
    held_out = [name for name in names if any(name in epoch.evaluation for epoch in epochs)]
    heads = [f"held-out {extension.title(name)}".replace(" ", "\n") for name in held_out]
    built = table("Training", "epoch", "updates", "seconds", "samples/s", "training\nloss", *heads)
    for epoch in epochs:
        built.add_row(
            str(epoch.epoch),
            str(epoch.step),
            f"{epoch.seconds:.1f}",
            "" if epoch.samples_per_second is None else f"{epoch.samples_per_second:.2f}",
            f"{epoch.train.get('loss', float('nan')):.4f}",
            *(f"{epoch.evaluation[name]:.4f}" if name in epoch.evaluation else "" for name in held_out),
        )
    return built


def draw_curves(
    steps: list[Step], records: list[dict], folder: Path, score: str, extension: Extension
) -> Optional[Figure]:
    """Draw loss, score and learning rate by update as curves.png, if the run has trained.

    Args:
        steps: the updates to draw, of which a long run's are a part.
        records: of the run.
        folder: for the picture.
        score: the benchmark's.
        extension: the benchmark's, for the titles of scores.

    Returns:
        The figure, a panel for each of the three that the records hold; None without updates.
    """
    if not steps:
        return None
    training = {name: {step.step: step.terms[name] for step in steps if name in step.terms} for name in ("loss", score)}
    training["learning rate"] = {step.step: step.learning_rate for step in steps}
    held_out = {
        name: {
            update: scores[name] for update, scores in sorted(evaluations_by_step(records).items()) if name in scores
        }
        for name in training
    }
    names = [name for name in training if training[name] or held_out[name]]
    with figures.picture(folder / "curves.png", (1.0 + 4.2 * len(names), 3.6), 1, len(names)) as (figure, axes):
        for axis, name in zip(axes[0], names):
            _draw_curve(axis, training[name], held_out[name])
            axis.set_title(extension.title(name))
            axis.set_xlabel("update")
        figures.legend_below(figure)
    return figure


def _draw_curve(axis: Axes, training: dict[int, float], held_out: dict[int, float]) -> None:
    """Draw values by update; few of them with marks, as one alone makes no line."""
    for number, (label, values) in enumerate({"training": training, "held out": held_out}.items()):
        look = figures.look(number)
        if number == 0 and len(values) > _MARKED:
            look["marker"] = ""
        if values:
            axis.plot(list(values), list(values.values()), linewidth=1.2, label=label, **look)
    figures.whole(axis.xaxis)
    figures.from_zero(axis)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(True)

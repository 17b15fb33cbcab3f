"""The report of one run, built at its end: tables as report.md and curves as pictures/curves.png in the run's folder.

Everything comes from the run's own files; a figure that is not there is left out, not guessed. Several runs, and logs
of other programs, are compared by common.report.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
from rich.table import Table

from common.cli.registry import Benchmark
from common.errors import UserError
from common.report.extension import Extension, Picture, extension_of
from common.report.tables import markdown, show, table
from common.runs.files import save_figure, write_text
from common.runs.kinds import Epoch, Step, parse, select
from common.runs.records import evaluations_by_step, iterate, read_lines

_STEPS = 4000  # in a picture


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
    _draw_curves(steps, records, folder / "pictures", benchmark.score, extension)
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


def _draw_curves(steps: list[Step], records: list[dict], folder: Path, score: str, extension: Extension) -> None:
    """Loss, score and learning rate against the update, as curves.png, if the run has trained."""
    if not steps:
        return
    curves = {
        name: ([step.step for step in steps if name in step.terms], [s.terms[name] for s in steps if name in s.terms])
        for name in ("loss", score)
    }
    curves["learning rate"] = [step.step for step in steps], [step.learning_rate for step in steps]
    curves = {name: points for name, points in curves.items() if points[0]}
    evaluations = sorted(evaluations_by_step(records).items())
    figure, axes = plt.subplots(1, len(curves), figsize=(4.6 * len(curves), 3.4), layout="constrained", squeeze=False)
    for axis, (name, points) in zip(axes[0], curves.items()):
        axis.plot(*points, label="training", linewidth=1.2)
        held_out = {step: scores[name] for step, scores in evaluations if name in scores}
        if held_out:
            axis.plot(list(held_out), list(held_out.values()), "o-", label="held out")
            axis.legend(frameon=False)
        axis.set_xlabel("update")
        axis.set_title(extension.title(name))
        axis.grid(alpha=0.3)
    save_figure(figure, folder / "curves.png", 90)
    plt.close(figure)

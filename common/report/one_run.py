"""The report of one run, built at its end: tables as report.md and curves as pictures/curves.png in the run's folder.

Everything comes from the run's own files; a figure that is not there is left out, not guessed. Several runs, and logs
of other programs, are compared by common.report.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen on a compute node
import matplotlib.pyplot as plt
from rich.table import Table

from common.errors import UserError
from common.report import disagreement
from common.report.tables import markdown, show, table
from common.runs.records import evaluations_by_step, read_lines, read_records

SCORE_TITLES = {
    "pixel_accuracy": "pixel accuracy",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "iou": "IoU",
    "kuiper_skill": "Kuiper skill",
    "log_loss": "log loss",
    "accuracy_all_pixels": "accuracy, all pixels",
    "accuracy_measured_pixels": "accuracy, measured pixels",
}
# As a reader calls them.
_MASKS = {"baseline": "threshold baseline", "summary": "operational mask", "labels": "the labels themselves"}
_TRUTH = "accuracy against truth"
_EPOCH_SCORES = ("loss", "pixel_accuracy", "iou", "accuracy_all_pixels", "accuracy_measured_pixels")


def report(folder: Path) -> None:
    """Print the report of one run, and leave it in the run's folder. Raises UserError if it is not one."""
    starts = read_lines(folder / "environment.jsonl")
    if not starts:
        raise UserError(f"{folder}: is not a run folder (it has no environment.jsonl)")
    environment = starts[-1]
    records = read_records(folder / "metrics.jsonl")
    tables = [built for built in _tables(environment, records) if built.row_count]
    show(*tables)
    text = [f"# {environment['command']}: {folder.name}", *(markdown(built) for built in tables)]
    _draw_curves(records, folder / "pictures")
    disputed = [("network and labels differ", name) for name in disagreement.pictures(folder)]
    for title, name in [("training", "curves.png"), ("calibration", "calibration.png"), *disputed]:
        if (folder / "pictures" / name).is_file():
            text.append(f"![{title}](pictures/{name})")
    (folder / "report.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    print(f"report: {folder / 'report.md'}, pictures: {folder / 'pictures'}")


def _tables(environment: dict, records: list) -> list:
    def latest(kind: str) -> dict:
        return next((record for record in reversed(records) if record["kind"] == kind), {})

    epochs = {record["epoch"]: record for record in records if record["kind"] == "epoch"}
    inference = _where_labels_err(latest("inference"))
    return [
        _run_table(environment),
        _training_table(list(epochs.values())),
        _time_table(inference),
        _score_table(inference),
        _strata_table(inference),
        disagreement.scenes_table(records),
        disagreement.kinds_table(inference),
        _failure_table(records),
        _skipped_table(records),
    ]


def _where_labels_err(inference: dict) -> dict:
    """The record without its scores against the truth if the labels are the truth: a column would say all twice."""
    labels = inference.get("truth", {}).get("scores", {}).get("labels", {})
    perfect = labels.get("pixel_accuracy") == 1.0
    return {key: value for key, value in inference.items() if not (perfect and key == "truth")}


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


def _training_table(epochs: list) -> Table:
    held_out = [name for name in _EPOCH_SCORES if any(name in epoch["evaluation"] for epoch in epochs)]
    titles = {"loss": "loss", **SCORE_TITLES}
    built = table(
        "Training",
        "epoch",
        "updates",
        "seconds",
        "samples/s",
        "training\nloss",
        *(_stacked(f"held-out {titles[name]}") for name in held_out),
    )
    for epoch in epochs:
        built.add_row(
            str(epoch["epoch"]),
            str(epoch["step"]),
            f"{epoch['seconds']:.1f}",
            f"{epoch['samples_per_second']:.2f}",
            f"{epoch['train'].get('loss', float('nan')):.4f}",
            *(_score(epoch["evaluation"], name) for name in held_out),
        )
    return built


def _time_table(inference: dict) -> Table:
    built = table("Time per inference", "seconds per scene", "mean", "median", "p95", "total")
    built.min_width = 80
    if not inference:
        return built
    for part in ("read", "compute", "write"):
        values = inference[part]
        built.add_row(part, *(f"{values[name]:.3f}" for name in ("mean", "median", "p95", "total")))
    built.add_row(
        "end to end, all ranks", f"{inference['time_per_inference']:.3f}", "", "", f"{inference['seconds']:.3f}"
    )
    built.caption = (
        f"{inference['inferences']} scenes ({inference['mode']}, {inference['precision']}) on {inference['ranks']} "
        f"ranks: {inference['scenes_per_second']:.3f} scenes/s, {inference['megapixels_per_second']:.3f} megapixels/s. "
        "Reading and writing overlap computing; warm-up is left out."
    )
    return built


def _score_table(inference: dict) -> Table:
    """Over all scenes together, and the mean over scenes; beside them how well probabilities are calibrated."""
    scores, means = inference.get("scores", {}), inference.get("scene_means", {})
    names = [name for name in SCORE_TITLES if any(name in values for values in scores.values())]
    truth = inference.get("truth", {}).get("scores", {})
    heads = [SCORE_TITLES[name] for name in names] + ([_TRUTH] if truth else [])
    built = table("Scores against the labels", "", *map(_stacked, heads))
    for name in {**scores, **truth}:
        cells = [_score(scores.get(name, {}), each) for each in names]
        built.add_row(_MASKS.get(name, name), *cells, *_against_truth(truth, name))
    blank = [""] if truth else []
    if means and scores:
        cells = [_score(means, each) for each in names]
        built.add_row(f"network, mean over {means['scenes']:.0f} scenes", *cells, *blank)
    if {"network", "baseline"} <= scores.keys():
        gains = (
            100 * (each["network"]["pixel_accuracy"] - each["baseline"]["pixel_accuracy"])
            for each in (scores, truth)
            if each
        )
        first, *second = (f"{gain:+.2f}" for gain in gains)
        built.add_row("network - baseline, points", first, *[""] * (len(names) - 1), *second)
    error = inference.get("calibration", {}).get("expected_calibration_error")
    said = [f"Threshold baseline: cloud where {inference['rule']}."] if inference.get("rule") else []
    if error is not None:
        said.append(f"Expected calibration error of the network's probabilities: {error:.4f}.")
    built.caption = " ".join(said) or None
    return built


def _stacked(title: str) -> str:
    """A column's head, a word a line, so that figures and not words make it wide."""
    return title.replace(" ", "\n")


def _score(values: dict, name: str) -> str:
    return f"{values[name]:.4f}" if name in values else ""


def _against_truth(truth: dict, name: str) -> list[str]:
    """A cell, or none where the truth is not known of any scene."""
    return [_score(truth.get(name, {}), "pixel_accuracy")] if truth else []


def _strata_table(inference: dict) -> Table:
    """By kind of pixel, where flags or geometry tell them apart."""
    strata, truths = inference.get("strata", {}), inference.get("truth", {}).get("strata", {})
    last = [_stacked(_TRUTH)] if truths else []
    built = table(
        "Scores by kind of pixel", "kind", "mask", "pixels", "pixel\naccuracy", "F1", "IoU", "Kuiper\nskill", *last
    )
    for stratum, masks in strata.items():
        truth = truths.get(stratum, {})
        for number, name in enumerate({**masks, **truth}):
            values = masks.get(name, {})
            first = (stratum, f"{values['pixels']:.0f}") if not number else ("", "")
            scores = [_score(values, each) for each in ("pixel_accuracy", "f1", "iou", "kuiper_skill")]
            built.add_row(
                first[0], _MASKS.get(name, name), first[1], *scores, *(_against_truth(truth, name) if truths else [])
            )
    if strata:
        built.columns[1].justify = "left"
        built.min_width = 80
        built.caption = "A pixel may be of several kinds, such as day, ocean and sun glint."
    return built


def _failure_table(records: list) -> Table:
    built = table("Failed", "file", "why", text=True)
    for record in records:
        if record["kind"] == "scene" and record.get("error"):
            built.add_row(record["name"], record["error"])
    return built


def _skipped_table(records: list) -> Table:
    shown = table("Samples left out", "file", "why", text=True)
    latest = {record["file"]: record["why"] for record in records if record["kind"] == "skipped"}
    for file, why in latest.items():
        shown.add_row(Path(file).name, why)
    return shown


def _draw_curves(records: list, folder: Path) -> None:
    """Loss, score and learning rate against the update, as curves.png, if the run has trained."""
    steps = [record for record in records if record["kind"] == "step"]
    evaluations = evaluations_by_step(records)
    if not steps:
        return
    score = next((name for name in ("pixel_accuracy", "iou") if name in steps[0]), None)
    names = ["loss", *([score] if score else []), "learning_rate"]
    figure, axes = plt.subplots(1, len(names), figsize=(4.6 * len(names), 3.4), layout="constrained")
    for axis, name in zip(axes, names):
        axis.plot([r["step"] for r in steps], [r[name] for r in steps], label="training", linewidth=1.2)
        held_out = {step: scores[name] for step, scores in sorted(evaluations.items()) if name in scores}
        if held_out and name != "learning_rate":
            axis.plot(list(held_out), list(held_out.values()), "o-", label="held out")
            axis.legend(frameon=False)
        axis.set_xlabel("update")
        axis.set_title({"learning_rate": "learning rate", **SCORE_TITLES}.get(name, name))
        axis.grid(alpha=0.3)
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / "curves.png", dpi=90)
    plt.close(figure)

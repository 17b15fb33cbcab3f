"""What CloudMask adds to the report of one run: seconds per scene, scores of the masks, and failures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from rich.table import Table

from cloudmask.records import Inference, Scene, Truth
from cloudmask.report import disagreement
from common.report.extension import Picture
from common.report.logs import finite
from common.report.options import show
from common.report.tables import table
from common.runs import kinds

SCORE_TITLES = {
    "pixel_accuracy": "pixel accuracy",
    "f1": "F1",
    "iou": "IoU",
    "kuiper_skill": "Kuiper skill",
    "log_loss": "log loss",
    "accuracy_all_pixels": "accuracy, all pixels",
    "accuracy_measured_pixels": "accuracy, measured pixels",
}
_SHOWN = ("pixel_accuracy", "f1", "precision", "recall", "iou", "kuiper_skill", "log_loss", *list(SCORE_TITLES)[-2:])
# Names of masks in tables.
_MASKS = {"baseline": "threshold baseline", "summary": "operational mask", "labels": "the labels themselves"}
_TRUTH = "accuracy against truth"


def tables(records: list[dict]) -> list[Table]:
    """The tables of the run's last inference."""
    scenes = kinds.select(Scene, records)
    inference = kinds.latest(Inference, records)
    if inference is None:
        return [_failure_table(scenes)]
    truth = _where_labels_err(inference.against_truth())
    return [
        _time_table(inference),
        _score_table(inference, truth),
        _strata_table(inference, truth),
        disagreement.scenes_table(scenes),
        disagreement.kinds_table(inference, truth),
        _failure_table(scenes),
    ]


def pictures(folder: Path) -> list[Picture]:
    """The calibration, and the scenes in which network and labels differ most, the largest difference first."""
    disputed = [Picture("network and labels differ", name) for name in disagreement.pictures(folder)]
    return [Picture("calibration", "calibration.png"), *disputed]


def _where_labels_err(truth: Optional[Truth]) -> Optional[Truth]:
    """None if the labels are the truth, as the column would repeat the others."""
    if truth is None or truth.scores.get("labels", {}).get("pixel_accuracy") == 1.0:
        return None
    return truth


def _time_table(inference: Inference) -> Table:
    built = table("Time per inference", "seconds per scene", "mean", "median", "p95", "total")
    built.min_width = 80
    for part, values in (("read", inference.read), ("compute", inference.compute), ("write", inference.write)):
        names = ("mean", "median", "p95", "total")
        built.add_row(part, *(show(finite(values.get(name)), ".3f") for name in names))
    seconds = show(finite(inference.time_per_inference), ".3f")
    built.add_row("end to end, all ranks", seconds, "", "", f"{inference.seconds:.3f}")
    of_all = f" of {inference.inferences + len(inference.failed)}" if inference.failed else ""
    built.caption = (
        f"{inference.inferences}{of_all} scenes ({inference.mode}, {inference.precision}) on {inference.ranks} ranks: "
        f"{inference.scenes_per_second:.3f} scenes/s, {inference.megapixels_per_second:.3f} megapixels/s. "
        "Reading and writing overlap with computing; warm-up is not included."
    )
    return built


def _score_table(inference: Inference, truth: Optional[Truth]) -> Table:
    """Scores over all scenes together, the mean over scenes, and the calibration of the probabilities."""
    scores, true_scores = inference.scores, truth.scores if truth else {}
    names = [name for name in _SHOWN if any(name in values for values in scores.values())]
    heads = [SCORE_TITLES.get(name, name) for name in names] + ([_TRUTH] if truth else [])
    built = table("Scores against the labels", "", *map(_stacked, heads))
    for name in {**scores, **true_scores}:
        cells = [_score(scores.get(name, {}), each) for each in names]
        built.add_row(_MASKS.get(name, name), *cells, *_against_truth(truth, name))
    if inference.scene_means and scores:
        cells = [_score(inference.scene_means, each) for each in names]
        title = f"network, mean over {inference.scene_means.get('scenes', float('nan')):.0f} scenes"
        built.add_row(title, *cells, *([""] if truth else []))
    gains = [_gain(scores), *([_gain(true_scores)] if truth else [])]
    if gains[0]:
        built.add_row("network - baseline, points", gains[0], *[""] * (len(names) - 1), *gains[1:])
    error = inference.calibration.get("expected_calibration_error")
    notes = [f"Threshold baseline: cloud where {inference.rule}."] if inference.rule else []
    notes += [f"{name}: of {share:.2%} of the pixels." for name, share in inference.shares.items() if share < 1]
    if isinstance(error, float):
        notes.append(f"Expected calibration error of the network's probabilities: {error:.4f}.")
    built.caption = " ".join(notes) or None
    return built


def _gain(scores: Mapping[str, Mapping[str, float]]) -> str:
    """The network's accuracy minus the baseline's, in percentage points; empty if either is missing."""
    try:
        return f"{100 * (scores['network']['pixel_accuracy'] - scores['baseline']['pixel_accuracy']):+.2f}"
    except KeyError:
        return ""


def _stacked(title: str) -> str:
    """A column's head with one word a line, so that the column is as wide as its figures."""
    return title.replace(" ", "\n")


def _score(values: Mapping[str, float], name: str) -> str:
    return f"{values[name]:.4f}" if name in values else ""


def _against_truth(truth: Optional[Truth], name: str) -> list[str]:
    """The row's cell for the truth; no cell if the truth is not known for any scene."""
    return [_score(truth.scores.get(name, {}), "pixel_accuracy")] if truth else []


def _strata_table(inference: Inference, truth: Optional[Truth]) -> Table:
    """Scores by kind of pixel, as flags or geometry distinguish them."""
    strata, true_strata = inference.strata, truth.strata if truth else {}
    last = [_stacked(_TRUTH)] if truth else []
    heads = ["pixels", "pixel\naccuracy", "F1", "IoU", "Kuiper\nskill", *last]
    built = table("Scores by kind of pixel", "kind", "mask", *heads)
    for stratum, masks in strata.items():
        true_masks = true_strata.get(stratum, {})
        for number, name in enumerate({**masks, **true_masks}):
            values = masks.get(name, {})
            first = (stratum, f"{values.get('pixels', float('nan')):.0f}") if not number else ("", "")
            scores = [_score(values, each) for each in ("pixel_accuracy", "f1", "iou", "kuiper_skill")]
            against = [_score(true_masks.get(name, {}), "pixel_accuracy")] if truth else []
            built.add_row(first[0], _MASKS.get(name, name), first[1], *scores, *against)
    if strata:
        built.columns[1].justify = "left"
        built.min_width = 80
        built.caption = "A pixel may be of several kinds, such as day, ocean and sun glint."
    return built


def _failure_table(scenes: list[Scene]) -> Table:
    built = table("Failed", "file", "why", text=True)
    for scene in scenes:
        if scene.error:
            built.add_row(scene.name, scene.error)
    return built

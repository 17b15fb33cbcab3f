"""What DeepCAM adds to the report of one run: the samples that were left out, and the inference benchmark's times."""

from pathlib import Path
from typing import Optional

from rich.table import Table

from common.report.tables import table
from common.runs import kinds
from tf_deepcam.records import Inference, Skipped


def tables(records: list[dict]) -> list[Table]:
    return [_inference_table(kinds.latest(Inference, records)), _skipped_table(kinds.select(Skipped, records))]


def _inference_table(inference: Optional[Inference]) -> Table:
    built = table("Inference", "over the passes", "mean", "median", "standard deviation", "p95")
    if inference is None:
        return built
    for title, values in (
        ("seconds", inference.seconds),
        ("samples/s", inference.samples_per_second),
        ("GB/s", inference.gigabytes_per_second),
    ):
        names = ("mean", "median", "standard_deviation", "p95")
        built.add_row(title, *(f"{values[name]:.3f}" if name in values else "-" for name in names))
    score = "" if inference.iou is None else f"; IoU {inference.iou:.4f}"
    built.caption = (
        f"{inference.samples} samples ({inference.mode}, {inference.precision}), batches of {inference.batch_size} on "
        f"{inference.ranks} ranks{score}."
    )
    return built


def _skipped_table(skipped: list[Skipped]) -> Table:
    built = table("Samples left out", "file", "why", text=True)
    for file, why in {each.file: each.why for each in skipped}.items():
        built.add_row(Path(file).name, why)
    return built

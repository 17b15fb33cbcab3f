"""CloudMask's table of results: time per epoch, time per inference and accuracy, as its authors publish them."""

from typing import Any, NamedTuple, Optional

import numpy as np
from rich.table import Table

from cloudmask.records import Inference
from common.report.generic import gpus
from common.report.logs import RunLog, finite
from common.report.options import Options, show
from common.report.tables import table


class Figures(NamedTuple):
    """Figures of a run's inference for the table; None if unknown. seconds_per_scene: over all ranks."""

    seconds_per_scene: Optional[float] = None
    accuracy: Optional[float] = None
    against_truth: Optional[float] = None  # known for synthetic scenes

    @classmethod
    def of(cls, run: RunLog) -> "Figures":
        """Read the run's last record of an inference, which is untrusted and may be damaged."""
        record, score = run.last_record(Inference.kind), ("scores", "network", "pixel_accuracy")
        if record is None:
            return cls()
        return cls(finite(record.get("time_per_inference")), _number(record, *score), _number(record, "truth", *score))


def _number(record: dict, *keys: str) -> Optional[float]:
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return finite(value)


def inference_table(runs: list, options: Options) -> Table:
    """Tabulate these runs, one a row. Without an inference, the accuracy is that of the last evaluation."""
    own = {run.name: Figures.of(run) for run in runs}
    known = any(inference.against_truth is not None for inference in own.values())
    form = table(
        f"{runs[0].benchmark.title} form",
        "Run",
        "Nodes",
        "GPUs",
        "Ranks",
        "Time per epoch (s)",
        "Time per inference (s)",
        "Accuracy",
        *(["Accuracy against truth"] if known else []),
    )
    for run in runs:
        seconds = [epoch.seconds for epoch in run.epochs()] if run.counts_epochs else []
        inference = own[run.name]
        accuracy = inference.accuracy
        if accuracy is None and run.evaluations():
            accuracy = run.evaluations()[-1].value
        form.add_row(
            run.name,
            show(run.nodes),
            show(gpus(run)),
            show(run.ranks),
            show(float(np.median(seconds)) if seconds else None, ".2f"),
            show(inference.seconds_per_scene, ".3f"),
            show(accuracy, ".4f"),
            *([show(inference.against_truth, ".4f")] if known else []),
        )
    return form

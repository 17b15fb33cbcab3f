"""What CloudMask adds to reports."""

import json

import pytest

from cloudmask.report.forms import Figures
from common.report import log_files
from tests.common.report.test_report import write_log


def figures_of(folder, record: dict) -> Figures:
    write_log(folder / "run" / "mlperf.log", submission_benchmark="cloudmask")
    (folder / "run" / "metrics.jsonl").write_text(json.dumps({"kind": "inference", **record}) + "\n")
    (run,) = log_files.read(folder / "run" / "mlperf.log")
    return Figures.of(run)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"time_per_inference": 1.5, "scores": {"network": {"pixel_accuracy": 0.9}, "baseline": {}}},
            (1.5, 0.9, None),
        ),
        ({"truth": {"scores": {"network": {"pixel_accuracy": 0.8}}}}, (None, None, 0.8)),
        ({}, (None, None, None)),
        ({"scores": {"baseline": 1}, "time_per_inference": "long"}, (None, None, None)),
    ],
)
def test_a_record_of_an_inference_gives_seconds_and_accuracy_or_nothing(tmp_path, record, expected):
    assert figures_of(tmp_path, record) == expected


def test_a_log_alone_has_no_inference(tmp_path):
    (run,) = log_files.read(write_log(tmp_path / "clouds.log", submission_benchmark="cloudmask"))
    assert Figures.of(run) == Figures()

"""What CloudMask adds to reports."""

import json
from collections.abc import Iterator

import pytest

from cloudmask.report import one_run
from cloudmask.report.forms import Figures
from common.report import log_files
from common.report.tables import markdown
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


STRATUM = {"network": {"pixel_accuracy": 0.8, "pixels": 9.0}, "labels": {"pixel_accuracy": 0.9}}
INFERENCE = {
    **{"kind": "inference", "mode": "whole", "precision": "float32", "tf32": False, "ranks": 1, "inferences": 1},
    **{"failed": [], "runs": 1, "seconds": 1.0, "time_per_inference": 1.0, "scenes_per_second": 1.0},
    **{"megapixels_per_second": 1.0, "read": {"mean": 1.0}, "scene_means": {"scenes": 1.0, "pixel_accuracy": 0.8}},
    **{"scores": STRATUM, "strata": {"ocean": STRATUM}, "truth": {"scores": STRATUM, "strata": {"ocean": STRATUM}}},
    **{"calibration": {"expected_calibration_error": 0.1}, "rule": "S8 < 270"},
}
SCENE = {
    **{"kind": "scene", "name": "S3A_1", "pixel_accuracy": 0.8},
    "disagreement": {"share": 0.2, "network_only": 0.1, "labels_only": 0.1, "network_right": 0.5, "kind": "ocean"},
}


def paths(tree: object, above: tuple = ()) -> Iterator[tuple]:
    for key, value in tree.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, (*above, key))


def replaced(tree: dict, path: tuple, value: object) -> dict:
    inner = value if len(path) == 1 else replaced(tree[path[0]], path[1:], value)
    return {**tree, path[0]: inner}


def without(tree: dict, path: tuple) -> dict:
    if len(path) == 1:
        return {key: value for key, value in tree.items() if key != path[0]}
    return {**tree, path[0]: without(tree[path[0]], path[1:])}


def test_whatever_is_damaged_in_a_record_the_tables_are_made():
    """Each value in turn is missing, null, a word, a list, not finite or huge."""
    bad = (None, "high", [1], {}, {"network": None}, float("nan"), float("inf"), -1e300, True)
    made = 0
    for index, record in enumerate((SCENE, INFERENCE)):
        for path in paths(record):
            for damaged in (without(record, path), *(replaced(record, path, value) for value in bad)):
                records = [damaged, INFERENCE] if index == 0 else [SCENE, damaged]
                built = one_run.tables(records)
                made += sum(len(markdown(each)) > 0 for each in built)
    assert made > 1000

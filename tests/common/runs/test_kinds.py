"""Records as they are written and read, and those that are damaged."""

import json
import math

import pytest

from cloudmask import records
from common.runs import kinds
from common.runs.records import append, evaluations_by_step, read_records

EPOCH = kinds.Epoch(
    step=6, epoch=2, seconds=1.5, samples_per_second=8.0, train={"loss": 0.5}, evaluation={"loss": 0.4, "f1": 0.9}
)


def test_terms_stand_beside_the_other_fields():
    step = kinds.Step(3, 1, 0.01, {"loss": 0.5, "f1": 0.75})
    line = {"kind": "step", "step": 3, "epoch": 1, "learning_rate": 0.01, "loss": 0.5, "f1": 0.75}
    assert kinds.as_json(step) == line
    assert kinds.parse(kinds.Step, {**line, "time": 7.0}) == step


@pytest.mark.parametrize("record", [EPOCH, kinds.Evaluation(4, 1, 0.5, {"loss": 1.0}), kinds.Resume(5)])
def test_what_is_written_is_what_is_read(tmp_path, record):
    append(tmp_path / "metrics.jsonl", {**kinds.as_json(record), "time": 1.0})
    assert kinds.latest(type(record), read_records(tmp_path / "metrics.jsonl")) == record


@pytest.mark.parametrize("field", ["step", "epoch", "seconds"])
@pytest.mark.parametrize("value", [None, "three", True, [1]])
def test_a_damaged_record_is_passed_over(field, value):
    assert kinds.select(kinds.Epoch, [{**kinds.as_json(EPOCH), field: value}, kinds.as_json(EPOCH)]) == [EPOCH]


def test_words_among_numbers_are_left_out_and_nan_is_a_number():
    line = {**kinds.as_json(EPOCH), "evaluation": {"loss": math.nan, "f1": "high", "iou": None}}
    record = kinds.parse(kinds.Epoch, json.loads(json.dumps(line)))
    assert list(record.evaluation) == ["loss"]


def test_missing_fields_with_a_default_have_it_and_others_have_none():
    assert kinds.parse(kinds.Epoch, {"kind": "epoch", "step": 1, "epoch": 1, "seconds": 2}).rates == {}
    assert kinds.parse(kinds.Epoch, {"kind": "epoch", "step": 1, "epoch": 1}) is None


def test_evaluations_at_epochs_ends_and_within_them():
    lines = [kinds.as_json(kinds.Evaluation(4, 1, 0.5, {"f1": 0.5})), kinds.as_json(EPOCH)]
    assert evaluations_by_step(lines) == {4: {"f1": 0.5}, 6: {"loss": 0.4, "f1": 0.9}}


def test_an_inference_without_a_truth_has_none():
    inference = records.Inference("whole", "float32", False, 1, 0, [], 1, 1.0, 1.0, 0.0, 0.0)
    assert inference.against_truth() is None
    assert kinds.parse(records.Inference, kinds.as_json(inference)) == inference

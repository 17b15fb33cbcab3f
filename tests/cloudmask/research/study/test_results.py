"""A study's plan, means, spreads and front, by hand."""

import numpy as np
import pytest

from cloudmask.research import config
from cloudmask.research.study import results
from cloudmask.research.study.plan import Trial, overrides, settings_of, steps, trials
from cloudmask.research.study.results import Result, Spread
from cloudmask.research.study.speed import Cost

STUDY = ["study.networks=[reference,narrow]", "study.label_errors=[0.1]", "study.seeds=[1,2]"]


def settings(*more: str) -> config.ResearchConfig:
    return config.load(overrides=[*STUDY, "study.scenes_folder=scenes", *more])


def result(network: str, seed: int, accuracy: float, precision: str = "float32") -> Result:
    return Result(Trial(network, "bce", 0.1, seed), precision, 0.8, accuracy, 0.9)


def test_every_combination_is_run_once_the_first_seed_first():
    found = trials(settings("study.losses=[bce,symmetric]"))
    assert len(set(found)) == len(found) == 2 * 2 * 2
    assert [trial.seed for trial in found] == [1] * 4 + [2] * 4
    assert found[0].name == "reference-bce-error10-seed1"


def test_a_further_precision_is_an_inference_with_the_trained_network():
    chosen = settings("study.precisions=[float32,mixed_bfloat16]", "study.seeds=[1]", "output.folder=there")
    names = [(step.command, step.name) for step in steps(chosen)]
    assert names[2:] == [
        ("infer", "reference-bce-error10-seed1-mixed_bfloat16"),
        ("infer", "narrow-bce-error10-seed1-mixed_bfloat16"),
    ]
    found = settings_of(chosen, overrides(chosen, steps(chosen)[3], 2))
    assert found.inference.model_file == "there/narrow-bce-error10-seed1/model.keras"
    assert (found.model.network, found.inference.precision, found.threads) == ("narrow", "mixed_bfloat16", 2)
    assert found.data.train_dir == "scenes/error10"
    assert "study" not in found.model_dump()  # a seed more makes no other run of this one


def test_spread_by_hand():
    assert Spread.of([0.9, 0.92]) == pytest.approx((0.91, np.sqrt(2) * 0.01, 2))
    assert str(Spread.of([0.9, 0.92])) == "0.9100 ± 0.0141"
    assert str(Spread.of([0.9])) == "0.9000"
    assert str(Spread.of([])) == "-"


def test_results_are_taken_by_what_their_trial_is():
    found = [result("narrow", 1, 0.9), result("narrow", 2, 0.92), result("reference", 1, 0.5)]
    assert results.spread(found, "against_truth", network="narrow", label_error=0.1).mean == pytest.approx(0.91)
    assert results.spread(found, "against_truth", network="narrow", precision="mixed_bfloat16").seeds == 0


def test_the_front_has_what_no_other_beats():
    """Of three, the slowest is less accurate than the second."""
    chosen = settings("study.networks=[reference,narrow,pixel]")
    found = [result("reference", 1, 0.91), result("narrow", 1, 0.92), result("pixel", 1, 0.8)]
    costs = [Cost(name, "float32", seconds, 1, 1.0) for name, seconds in zip(chosen.study.networks, (9.0, 1.0, 0.5))]
    assert [cost.network for cost in results.front(chosen, found, costs)] == ["pixel", "narrow"]
    rows = results.networks_table(chosen, found, costs)
    cells = list(zip(*(map(str, column.cells) for column in rows.columns)))
    assert cells[1][:6] == ("narrow", "float32", "0.9200", "+1.00", "1.000", "9.0")
    assert [row[-1] for row in cells] == ["", "yes", "yes"]

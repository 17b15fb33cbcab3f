"""What a study does where something is there already: other scenes, other studies, living runs, damaged files."""

import json

import numpy as np
import pytest

from cloudmask.research import config
from cloudmask.research.study import command, figures, results, runs, speed
from cloudmask.research.study.plan import steps
from cloudmask.research.study.speed import Cost
from common.errors import UserError
from common.runs import locks

SIZE = ["data.image_h=72", "data.image_w=104", "data.patch_size=32"]
STUDY = [*SIZE, "study.networks=[pixel]", "study.scenes=2", "study.form=small"]


def settings(folder, *more: str) -> config.ResearchConfig:
    places = [f"study.scenes_folder={folder}/scenes", f"output.folder={folder}/study"]
    return config.load(overrides=[*STUDY, *places, *more])


def scores(network: object, truth: object) -> dict:
    of = {"network": {"pixel_accuracy": network}}
    return {
        "scores": of,
        "truth": {"scores": {"network": {"pixel_accuracy": truth}, "labels": {"pixel_accuracy": 0.9}}},
    }


WHOLE = {
    **{"kind": "inference", "mode": "whole", "precision": "float32", "tf32": False, "ranks": 1, "inferences": 1},
    **{"failed": [], "runs": 1, "seconds": 1.0, "time_per_inference": 1.0, "scenes_per_second": 1.0},
    **{"megapixels_per_second": 1.0, **scores(0.8, 0.85)},
}


def finished(folder, record: object) -> None:
    """A run folder that has a report and a record."""
    folder.mkdir(parents=True)
    (folder / "report.md").touch()
    (folder / "metrics.jsonl").write_text(json.dumps(record) + "\n")


@pytest.mark.parametrize(
    ("word", "pair"),
    [
        ("seeds=[1,2,1]", "1 and 1"),
        ("losses=[bce,bce]", "bce and bce"),
        ("label_errors=[0.1,0.1000000001]", "0.1 and 0.1000000001"),
        ("networks=[pixel,narrow,pixel]", "pixel and pixel"),
        ("precisions=[float32,float32]", "float32 and float32"),
        ("label_errors=[0.0,-0.0]", "0.0 and -0.0"),
    ],
)
def test_values_that_would_be_the_same_runs_are_refused(word, pair):
    with pytest.raises(UserError, match=f"names {pair}, which would be the same runs"):
        config.load(overrides=[f"study.{word}"])


def test_scenes_are_made_once_and_kept(tmp_path, capsys):
    for _ in range(2):
        runs.make_scenes(settings(tmp_path))
    assert len(list((tmp_path / "scenes" / "error10").glob("*.hdf"))) == 2
    assert "2 were there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ("study.scenes_seed=1", "seed 0, but 1 is requested"),
        ("study.scenes=3", "count 2, but 3 is requested"),
        ("study.scenes=1", "count 2, but 1 is requested"),
        ("study.form=sen3", "form small, but sen3 is requested"),
        ("data.image_w=128", "width 104, but 128 is requested"),
    ],
)
def test_two_studies_with_other_scenes_do_not_share_a_folder(tmp_path, other, found):
    runs.make_scenes(settings(tmp_path))
    with pytest.raises(UserError, match=f"scenes/error10: holds files made with {found}"):
        runs.make_scenes(settings(tmp_path, other))
    assert len(list((tmp_path / "scenes" / "error10").glob("S3A*"))) == 2


def test_scenes_of_which_nobody_knows_how_they_were_made_are_refused(tmp_path):
    runs.make_scenes(settings(tmp_path))
    (tmp_path / "scenes" / "error10" / "made.json").unlink()
    with pytest.raises(UserError, match=r"holds files, but no made\.json"):
        runs.make_scenes(settings(tmp_path))


def test_scenes_that_were_interrupted_are_completed(tmp_path):
    runs.make_scenes(settings(tmp_path))
    folder = tmp_path / "scenes" / "error10"
    manifest = json.loads((folder / "made.json").read_text())
    (folder / "made.json").write_text(json.dumps({**manifest, "complete": False}))
    min(folder.glob("*.hdf")).unlink()
    runs.make_scenes(settings(tmp_path))
    assert len(list(folder.glob("*.hdf"))) == 2
    assert json.loads((folder / "made.json").read_text()) == manifest


def test_one_study_at_a_time_in_a_folder(tmp_path):
    (tmp_path / "study").mkdir()
    with locks.lock(tmp_path / "study", file=".study.lock"), pytest.raises(UserError, match="another study is running"):
        command.main(settings(tmp_path))
    assert not (tmp_path / "scenes").exists()


def test_a_living_run_of_a_trial_s_name_is_not_touched(tmp_path):
    """Nothing is started, neither."""
    chosen = settings(tmp_path, "study.seeds=[1,2]")
    living = tmp_path / "study" / "pixel-bce-error10-seed2"
    living.mkdir(parents=True)
    (living / "masks").mkdir()
    with locks.lock(living), pytest.raises(UserError, match="seed2: another process is running in this folder"):
        runs.run_steps(chosen)
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["logs", "pixel-bce-error10-seed2"]
    assert (living / "masks").is_dir()


@pytest.mark.parametrize(
    "damage",
    [
        {"truth": {}},
        {"truth": None},
        {"truth": {"scores": {"network": None, "labels": {"pixel_accuracy": "high"}}}},
        {"scores": {"network": {"pixel_accuracy": "high"}}, "truth": {}},
        {"scores": None},
        {"scores": {"network": [1]}, "truth": "none"},
        {"seconds": "fast"},
        scores(float("nan"), 1e9),
    ],
)
def test_a_damaged_record_is_an_absent_value(tmp_path, damage):
    """In the tables and in the pictures, which are made after all the training."""
    chosen = settings(tmp_path, "study.seeds=[1,2]", "study.timings=1")
    first, second = steps(chosen)
    finished(tmp_path / "study" / first.name, WHOLE)
    finished(tmp_path / "study" / second.name, {**WHOLE, **damage})
    outcomes = results.gather(chosen)
    table = results.losses_table(chosen, outcomes, "against_truth", "x")
    assert [str(cell) for cell in table.columns[2].cells] == ["0.8500", "0.9000"]
    costs = [Cost("pixel", "float32", 1.0, 1, 1.0)]
    assert results.networks_table(chosen, outcomes, costs).row_count == 1
    figures.draw_losses(chosen, outcomes, tmp_path / "losses.png")
    figures.draw_networks(chosen, outcomes, costs, tmp_path / "networks.png")
    if runs.inference_of(tmp_path / "study" / second.name) is not None:
        assert runs._summary(tmp_path / "study" / second.name).startswith("accuracy ")


def test_without_any_value_there_are_still_tables_and_pictures(tmp_path):
    chosen = settings(tmp_path, "study.seeds=[1]", "study.timings=1")
    costs = [Cost("pixel", "float32", 1.0, 1, 1.0)]
    for outcomes in ([], [results.Result(steps(chosen)[0].trial, "float32", *[float("nan")] * 3)]):
        assert results.losses_table(chosen, outcomes, "against_truth", "x").row_count == 2
        assert results.networks_table(chosen, outcomes, costs).row_count == 1
        figures.draw_losses(chosen, outcomes, tmp_path / "losses.png")
        figures.draw_networks(chosen, outcomes, costs, tmp_path / "networks.png")


REQUESTED = [["pixel", "float32", 1]]
STORED = {"asked": REQUESTED, "costs": [["pixel", "float32", 0.5, 10, 1.0]]}


def test_a_measurement_is_taken_again_unless_it_is_whole_and_of_these_networks(tmp_path, monkeypatch):
    path, fresh = tmp_path / "speed.json", [Cost("pixel", "float32", 0.25, 10, 1.0)]
    monkeypatch.setattr(speed, "_measure", lambda *_: fresh)
    whole = json.dumps(STORED)
    assert speed.measure(("pixel",), ("float32",), 1, path) == fresh
    path.write_text(whole)
    assert speed.measure(("pixel",), ("float32",), 1, path) == [Cost("pixel", "float32", 0.5, 10, 1.0)]
    for damaged in (
        *("", whole[:40], "[]", "null", json.dumps({"asked": REQUESTED})),
        *(json.dumps({**STORED, "costs": costs}) for costs in ([], None, [[]], [["pixel", "float32", 0.5]])),
        *(json.dumps({**STORED, "costs": [["pixel", "float32", seconds, 10, 1.0]]}) for seconds in (None, "fast", 0)),
        json.dumps({**STORED, "costs": [["narrow", "float32", 0.5, 10, 1.0]]}),
        whole.replace("0.5", "NaN"),
    ):
        path.write_text(damaged)
        assert speed.measure(("pixel",), ("float32",), 1, path) == fresh
        assert np.isfinite(json.loads(path.read_text())["costs"][0][2])

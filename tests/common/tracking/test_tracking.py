"""Exports and live tracking with the real packages, without a network: what they wrote is read back."""

import json
import os
from pathlib import Path
from typing import Optional

import pytest

from cloudmask import config as cloudmask_config
from common.config.render import dump
from common.errors import UserError
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.runs.folder import open_run
from common.runs.mlperf import Log
from common.runs.records import append
from common.runs.settings import OutputSettings
from common.session import Session
from common.tracking import points
from common.tracking.export import export
from common.tracking.live import Live
from common.tracking.weights_biases import WeightsAndBiases
from common.training import loop
from common.training.settings import TrainingSettings
from tests.common.training.test_loop import Config, task, write
from tests.helpers import ROOT, errors, records, run

ENVIRONMENT = {"command": "cloudmask run", "host": "node1", "started": "1970-01-01T01:01:00+0100", "ranks": 2}
INFERENCE = {"seconds": 4.5, "mode": "tiles", "scores": {"network": {"iou": 0.75}}, "calibration": {"bins": [1, 2]}}
RECORDS = [
    {"kind": "baseline", "time": 99.0, "rule": "T < 270", "training_accuracy": 0.625},
    {"kind": "step", "time": 100.25, "step": 5, "epoch": 1, "loss": 0.5, "learning_rate": 0.001},
    {"kind": "step", "time": 101.0, "step": 7, "epoch": 1, "loss": 77.0, "learning_rate": 0.001},  # then it was killed
    {"kind": "resume", "time": 150.0, "step": 5},
    {"kind": "step", "time": 200.5, "step": 7, "epoch": 1, "loss": 0.25, "learning_rate": 0.002},
    {"kind": "epoch", "time": 201.0, "step": 7, "epoch": 1, "seconds": 1.5, "evaluation": {"iou": 0.875, "loss": 0.3}},
    {"kind": "training", "time": 202.0, "updates": 7, "target_reached": True, "evaluation": {"iou": 0.875}},
    {"kind": "inference", "time": 203.0, **INFERENCE},
]
# (name, step): (value, milliseconds)
CURVES = {
    ("train/loss", 5): (0.5, 100250),
    ("train/learning_rate", 5): (0.001, 100250),
    ("train/loss", 7): (0.25, 200500),
    ("train/learning_rate", 7): (0.002, 200500),
    ("epoch/seconds", 7): (1.5, 201000),
    ("evaluation/iou", 7): (0.875, 201000),
    ("evaluation/loss", 7): (0.3, 201000),
}
FIGURES = {
    "baseline/training_accuracy": 0.625,
    "training/updates": 7,
    "training/evaluation/iou": 0.875,
    "inference/seconds": 4.5,
    "inference/scores/network/iou": 0.75,
}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run folder of known values: resumed once, with lines that a kill has torn or somebody has made up."""
    made = tmp_path / "runs" / "20261121-101530"
    (made / "pictures").mkdir(parents=True)
    (made / "config.yaml").write_text(dump(cloudmask_config.load(None, ["training.epochs=3"])))
    append(made / "environment.jsonl", ENVIRONMENT)
    for record in RECORDS:
        append(made / "metrics.jsonl", record)
    with open(made / "metrics.jsonl", "a") as file:
        file.write('{"kind": "step", "step": true, "time": 1}\n{"kind": "step", "step": -1, "time": 1, "loss": 1}\n')
        file.write('{"kind": "step", "step": 9, "time": 1e300, "loss": 1}\n[[[]]]\n{"kind": "step", "st')
    (made / "report.md").write_text("# report\n")
    (made / "pictures" / "curves.png").write_bytes(b"png")
    (made / "pictures" / "stolen.png").symlink_to("/etc/hostname")
    return made


def content(folder: Path) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def directories(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def wandb_records(directory: Path) -> list:
    """Of an offline directory, by the package's own reader."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    (path,) = directory.glob("*.wandb")
    store, found = DataStore(), []
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        found.append(wandb_internal_pb2.Record())
        found[-1].ParseFromString(data)
    return found


def wandb_items(items) -> dict:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def wandb_curves(directory: Path) -> dict:
    """{(name, step): value}"""
    lines = [wandb_items(record.history.item) for record in wandb_records(directory) if record.HasField("history")]
    return {(name, line["_step"]): line[name] for line in lines for name in line if not name.startswith("_")}


def wandb_config(directory: Path) -> dict:
    first = next(record for record in wandb_records(directory) if record.HasField("run"))
    return {"name": first.run.display_name, "id": first.run.run_id, **wandb_items(first.run.config.update)}


def test_mlflow_holds_every_value_step_and_time(folder, tmp_path):
    pytest.importorskip("alembic")
    mlflow = pytest.importorskip("mlflow")
    before = content(folder)
    assert export(folder, "mlflow", tmp_path / "to").startswith("mlflow ui --backend-store-uri sqlite:////")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/to/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("cloudmask").experiment_id])
    number = found.info.run_id
    history = [metric for name in found.data.metrics for metric in client.get_metric_history(number, name)]
    curves = {(metric.key, metric.step): (metric.value, metric.timestamp) for metric in history}
    assert curves == {**CURVES, **{(name, 7): (value, 201000) for name, value in FIGURES.items()}}
    assert (found.info.run_name, found.info.status) == (folder.name, "FINISHED")
    assert (found.info.start_time, found.info.end_time) == (60000, 201000)
    assert (found.data.params["training.epochs"], found.data.tags["environment.host"]) == ("3", "node1")
    assert len(found.data.params) > 60
    assert [file.path for file in client.list_artifacts(number)] == ["pictures", "report.md"]
    assert [file.path for file in client.list_artifacts(number, "pictures")] == ["pictures/curves.png"]
    with pytest.raises(UserError, match=r"mlflow\.db: already contains the run 20261121-101530"):
        export(folder, "mlflow", tmp_path / "to")
    client.update_run(number, "RUNNING")  # as if that export had been killed
    export(folder, "mlflow", tmp_path / "to")
    assert len(client.search_runs([found.info.experiment_id])) == 1
    assert content(folder) == before


def test_wandb_s_directory_holds_every_value_step_and_time(folder, tmp_path):
    pytest.importorskip("wandb")
    before = content(folder)
    assert export(folder, "wandb", tmp_path / "to").startswith("wandb sync ")
    (directory,) = directories(tmp_path / "to")
    assert wandb_curves(directory) == {key: value for key, (value, _) in CURVES.items()}
    lines = [wandb_items(record.history.item) for record in wandb_records(directory) if record.HasField("history")]
    assert [line["_timestamp"] for line in lines] == [100.25, 201.0]
    summaries = [wandb_items(r.summary.update) for r in wandb_records(directory) if r.HasField("summary")]
    assert {key: value for each in summaries for key, value in each.items()}.items() >= FIGURES.items()
    config = wandb_config(directory)
    assert (config["name"], config["training"]["epochs"], config["environment"]) == (folder.name, 3, ENVIRONMENT)
    assert sorted(path.name for path in (directory / "files").rglob("*.*")) == ["curves.png", "report.md"]
    with pytest.raises(UserError, match="already contains the run 20261121-101530"):
        export(folder, "wandb", tmp_path / "to")
    assert content(folder) == before


def test_an_export_that_fails_leaves_nothing_that_refuses_the_repeat(folder, tmp_path, monkeypatch):
    pytest.importorskip("wandb")

    def full(self, folder, files) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(WeightsAndBiases, "attach", full)
        with pytest.raises(UserError, match=r"could not be exported \(\[Errno 28\] No space left on device"):
            export(folder, "wandb", tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []
    export(folder, "wandb", tmp_path / "to")
    assert len(directories(tmp_path / "to")) == 1


@pytest.mark.parametrize("to", ["wandb", "mlflow"])
@pytest.mark.parametrize("content", [None, "", "[]"])
def test_a_run_without_records_is_not_exported_as_an_empty_one(folder, tmp_path, to, content):
    (folder / "metrics.jsonl").unlink()
    if content is not None:
        (folder / "metrics.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"has no metrics\.jsonl" if content is None else r"jsonl: holds no record"):
        export(folder, to, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_steps_that_are_not_in_order_are_passed_on_in_order():
    rest = {"kind": "step", "epoch": 1, "learning_rate": 0.1, "time": 1.0, "loss": 1.0}
    records = [{**rest, "step": step} for step in (3, 1, 2)]
    assert [[point.step for point in chunk] for chunk in points.in_chunks(lambda: iter(records))] == [[1, 2, 3]]


@pytest.mark.parametrize("to", ["wandb", "mlflow"])
@pytest.mark.parametrize("case", ["nowhere", "under a file", "no config", "damaged config", "no SQLite"])
def test_mistakes_are_one_line(folder, tmp_path, to, case):
    target = tmp_path / "to"
    if case == "nowhere":
        folder, message = tmp_path / "nowhere", "nowhere: is not a run folder"
    elif case == "under a file":
        target, message = folder / "report.md" / "to", "cannot be written"
    elif case == "no config":
        (folder / "config.yaml").unlink()
        message = "is not a run folder"
    elif case == "damaged config":
        (folder / "config.yaml").write_text("a: [")
        message = "is not valid YAML"
    else:
        if to == "wandb":
            return
        pytest.importorskip("alembic")
        target.mkdir()
        (target / "mlflow.db").write_text("no database")
        message = "is not an SQLite file"
    with pytest.raises(UserError, match=message):
        export(folder, to, target)


@pytest.mark.parametrize(("to", "package"), [("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_missing_package_is_named(folder, tmp_path, monkeypatch, to, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(UserError, match=r"it is optional: `pip install -c requirements\.txt .*"):
        export(folder, to, tmp_path / "to")


def test_numbers_that_no_tracker_takes_are_left_out():
    found = points.flatten({"a": 1, "b": True, "c": 10**400, "../d": 1, "e": {"f": {"g": {"h": 1}}}, "i": "1"}, "x")
    assert found == {"x/a": 1.0}


@pytest.mark.parametrize("word", ["off", "offline", "online", "'off'"])
def test_off_is_a_word_in_yaml(tmp_path, word):
    (tmp_path / "a.yaml").write_text(f"benchmark: cloudmask\noutput:\n  wandb: {word}\n")
    settings = cloudmask_config.load(str(tmp_path / "a.yaml"))
    assert settings.output.wandb == word.strip("'")
    assert cloudmask_config.load(None, [f"output.wandb={word}"]).output == settings.output
    (tmp_path / "b.yaml").write_text(dump(settings))
    assert cloudmask_config.load(str(tmp_path / "b.yaml")) == settings


def test_any_other_word_is_refused():
    with pytest.raises(UserError, match=r"'output\.wandb' should be 'off', 'offline' or 'online' \(found: True\)"):
        cloudmask_config.load(None, ["output.wandb=on"])


def tracked(tmp_path: Path, epochs: int, resume: Optional[str] = None, scores=lambda: {"loss": 1.0, "right": 0.5}):
    """A training of the small network of tests/common/training with output.wandb=offline."""
    config = Config(output=OutputSettings(folder=str(tmp_path), run_name="live", wandb="offline"))
    opened = open_run(config, config.output, "test train", resume)
    session = Session(opened, Log(opened / "mlperf.log"), 1, wandb="offline")
    optimizer = optimizers.build(OptimizerSettings(start_lr=0.05), ScheduleSettings())
    failed = True
    try:
        settings = TrainingSettings(logging_frequency=1)
        loop.train(task(tmp_path / "data", epochs, scores=scores), optimizer, settings, session, tensorboard=False)
        failed = False
    finally:
        session.finish_tracking(failed=failed)
        opened.__exit__()


def recorded_curves(folder: Path) -> dict:
    steps = {("train/" + key, r["step"]): r[key] for r in records(folder, "step") for key in ("loss", "learning_rate")}
    return {**steps, **{("evaluation/right", r["step"]): 0.5 for r in records(folder, "epoch")}}


def test_a_live_run_has_config_and_curves_and_a_resumed_one_the_whole_of_them(tmp_path):
    pytest.importorskip("wandb")
    write(tmp_path / "data")
    tracked(tmp_path, 1)
    (first,) = directories(tmp_path / "live")
    assert wandb_curves(first).items() >= recorded_curves(tmp_path / "live").items()
    config = wandb_config(first)
    assert (config["name"], config["output"]["wandb"]) == ("live", "offline")
    assert config["environment"]["command"] == "test train"
    assert wandb_records(first)[-1].exit.exit_code == 0
    tracked(tmp_path, 2, resume=str(tmp_path / "live"))
    (second,) = set(directories(tmp_path / "live")) - {first}
    assert wandb_config(second)["id"] == config["id"]
    curves = wandb_curves(second)
    assert curves.items() >= recorded_curves(tmp_path / "live").items()
    assert {step for _, step in curves} == {1, 2, 3, 4, 5, 6}


def test_a_run_that_fails_is_finished_as_failed(tmp_path):
    pytest.importorskip("wandb")
    write(tmp_path / "data")
    with pytest.raises(ZeroDivisionError):
        tracked(tmp_path, 1, scores=lambda: {"loss": 1 / 0})
    (directory,) = directories(tmp_path / "live")
    assert wandb_records(directory)[-1].exit.exit_code == 1
    assert ("train/loss", 3) in wandb_curves(directory)


class Failing:
    """A tracker whose disk is full."""

    failures = (OSError,)

    def log(self, _: list) -> None:
        raise OSError(28, "No space left on device")


def test_a_tracker_that_fails_is_said_once_and_let_go():
    said: list[str] = []
    live = Live(Failing(), frozenset(), said.append)
    for _ in range(3):
        live.take(RECORDS[1])
    live.finish(failed=False)
    (line,) = said
    assert line.startswith("tracking stopped, the run continues: [Errno 28] No space left on device")


def test_without_the_package_every_rank_stops_at_once_and_only_rank_0_has_looked_for_it(tmp_path):
    look = f"import os\nopen(f'{tmp_path}/rank-' + os.environ['HOROVOD_RANK'], 'w')\nraise ImportError('not here')\n"
    (tmp_path / "wandb.py").write_text(look)
    settings = [f"data.data_dir_prefix={tmp_path}", f"output.folder={tmp_path}/runs", "output.wandb=offline"]
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    output = run("-m", "tf_deepcam", "train", *settings, ranks=2, PYTHONPATH=path)
    assert output.returncode != 0
    (line,) = errors(output.stdout)
    assert "output.wandb: the package wandb cannot be used (not here); it is optional: `pip install -c" in line
    assert [path.name for path in tmp_path.glob("rank-*")] == ["rank-0"]
    assert not (tmp_path / "runs").exists()

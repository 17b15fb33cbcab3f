"""The loop on a small network: exact resume, what a continuation must not differ in, bad gradients that ReLUs hide."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.config.settings import Settings
from common.data import npy
from common.data.batches import Reading, training_batches
from common.data.files import list_files
from common.data.sources import ArraySpec, FileFormat
from common.errors import UserError
from common.optim import optimizers
from common.optim.settings import OptimizerSettings, ScheduleSettings
from common.report import log_files
from common.runs.folder import open_run
from common.runs.mlperf import Log
from common.runs.records import read_records
from common.runs.settings import OutputSettings
from common.session import Session
from common.training import checkpoints, loop
from common.training.settings import TrainingSettings
from common.training.task import Goal, Task


class Config(Settings):
    output: OutputSettings = OutputSettings()


def read(path: str, out: tuple) -> None:
    with npy.open_array(path) as array:
        array.read_rows(0, out[0][0])
    out[1][0] = np.nansum(out[0][0], keepdims=True)


FORM = FileFormat(read, (ArraySpec((4,), np.float32), ArraySpec((1,), np.float32)))


def write(folder: Path, count: int = 6) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        np.save(folder / f"x{number}.npy", np.random.default_rng(number).random(4, dtype=np.float32))


def objective(batch: tuple, outputs: tf.Tensor) -> dict:
    return {"right": (tf.constant(1.0), tf.constant(2.0)), "loss": (tf.reduce_mean((outputs - batch[1]) ** 2), 1.0)}


def task(folder: Path, epochs: int = 3, target: float = 0.0, scores=lambda: {"loss": 1.0, "right": 0.5}) -> Task:
    tf.keras.utils.set_random_seed(1)
    network = tf.keras.Sequential([tf.keras.layers.Dense(3, "relu", input_shape=(4,)), tf.keras.layers.Dense(1)])
    batches = training_batches(list_files(str(folder), "x*.npy"), FORM, 2, seed=1, reading=Reading())
    return Task(network, objective, batches, scores, Goal("right", target, epochs))


def train(
    made: Task,
    folder: Path,
    name: str,
    resume=None,
    rate: float = 0.05,
    optimizer: str = "Adam",
    scale_loss: bool = False,
    **settings,
) -> dict:
    config = Config(output=OutputSettings(folder=str(folder), run_name=name))
    run = open_run(config, config.output, "test train", resume)
    session = Session(run, Log(run / "mlperf.log"), 1)
    built = optimizers.build(
        OptimizerSettings(start_lr=rate, optimizer=optimizer, weight_decay=0.01),
        ScheduleSettings(),
        scale_loss=scale_loss,
    )
    try:
        return loop.train(made, built, TrainingSettings(**settings), session, tensorboard=False)
    finally:
        run.__exit__()  # as if the process had ended


EVERY = {"checkpoints": "steps", "save_frequency": 1}


def final(folder: Path) -> list:
    """Arrays in their order: Keras counts layers on in each network, so that their names differ."""
    return list(checkpoints.load_newest(folder / "checkpoints", pytest.fail).arrays.values())


def test_epochs_are_evaluated_recorded_and_saved_in_order(tmp_path):
    write(tmp_path / "data")
    summary = train(task(tmp_path / "data"), tmp_path, "a", checkpoints="steps", save_frequency=2, logging_frequency=1)
    assert (summary.updates, summary.epochs, summary.target_reached) == (9, 3.0, False)
    kinds = [(record["kind"], record["step"]) for record in read_records(tmp_path / "a" / "metrics.jsonl")]
    assert kinds[:6] == [("step", 1), ("step", 2), ("checkpoint", 2), ("step", 3), ("epoch", 3), ("step", 4)]
    assert [step for kind, step in kinds if kind == "checkpoint"] == [2, 4, 6, 8, 9]


@pytest.mark.parametrize(
    ("settings", "saved"),
    [
        ({"checkpoints": "none"}, []),
        ({"checkpoints": "end"}, [9]),
        ({"checkpoints": "epoch"}, [3, 6, 9]),
        ({"checkpoints": "epoch", "save_frequency": 2}, [6]),
        ({"checkpoints": "epoch", "save_frequency": 400}, []),
        ({"checkpoints": "steps", "save_frequency": 3}, [3, 6, 9]),
        ({"checkpoints": "steps", "save_frequency": 4}, [4, 8, 9]),
    ],
)
def test_checkpoints_are_saved_when_they_are_wanted(tmp_path, settings, saved):
    write(tmp_path / "data")
    summary = train(task(tmp_path / "data"), tmp_path, "a", keep_checkpoints=9, **settings)
    records = read_records(tmp_path / "a" / "metrics.jsonl")
    assert [record["step"] for record in records if record["kind"] == "checkpoint"] == saved
    assert checkpoints.list_steps(tmp_path / "a" / "checkpoints") == saved
    log = (tmp_path / "a" / "mlperf.log").read_text()
    assert log.count('"save_start"') == log.count('"save_stop"') == len(saved)
    assert (summary.seconds_lost_to_saving > 1e-4) == bool(saved)


@pytest.mark.parametrize(
    ("frequency", "evaluated", "logged"),
    [(0, [3, 6, 9], [3, 6, 9]), (2, [2, 4, 6, 8, 9], [2, 3, 4, 6, 8, 9]), (4, [4, 8, 9], [3, 4, 6, 8, 9])],
)
def test_evaluations_come_as_often_as_asked(tmp_path, frequency, evaluated, logged):
    """Three epochs of three updates; logging_frequency 0 logs once an epoch, and before each evaluation."""
    write(tmp_path / "data")
    settings = {"validation_frequency": frequency, "logging_frequency": 0}
    summary = train(task(tmp_path / "data"), tmp_path, "a", **settings)
    (log,) = log_files.read(tmp_path / "a" / "mlperf.log")
    assert [event.step for event in log.evaluations()] == evaluated
    assert (
        [event.step for event in log.all("train_loss")] == [event.step for event in log.all("learning_rate")] == logged
    )
    assert [event.step for event in log.all("epoch_stop")] == [3, 6, 9]
    assert not log.problems
    assert summary.evaluation["right"] == 0.5
    epochs = [record for record in read_records(tmp_path / "a" / "metrics.jsonl") if record["kind"] == "epoch"]
    assert all(record["seconds"] > 0 for record in epochs)
    assert bool(epochs[0]["evaluation"]) == (frequency < 4)


def test_a_target_that_is_reached_within_an_epoch_ends_the_training_there(tmp_path):
    write(tmp_path / "data")
    settings = {"validation_frequency": 2, "checkpoints": "end"}
    summary = train(task(tmp_path / "data", target=0.4), tmp_path, "a", **settings)
    assert (summary.updates, summary.target_reached) == (2, True)
    assert checkpoints.list_steps(tmp_path / "a" / "checkpoints") == [2]
    (log,) = log_files.read(tmp_path / "a" / "mlperf.log")
    assert [event.key for event in log.events[-3:]] == ["save_start", "save_stop", "run_stop"]
    assert log.first("epoch_stop").step == 2
    assert log.status == "success"


def test_a_part_of_the_evaluation_marks_the_log_invalid(tmp_path):
    write(tmp_path / "data")
    train(task(tmp_path / "data"), tmp_path, "a", max_validation_steps=1)
    assert '"invalid_submission"' in (tmp_path / "a" / "mlperf.log").read_text()
    train(task(tmp_path / "data"), tmp_path, "b")
    assert '"invalid_submission"' not in (tmp_path / "b" / "mlperf.log").read_text()


def test_a_target_that_is_reached_is_an_end(tmp_path):
    write(tmp_path / "data")
    train(task(tmp_path / "data", epochs=9, target=0.4), tmp_path, "a", checkpoints="end")
    assert checkpoints.list_steps(tmp_path / "a" / "checkpoints") == [3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checkpoints": "steps"}, "needs save_frequency"),
        ({"checkpoints": "none", "save_frequency": 3}, "save_frequency has no meaning with checkpoints: none"),
        ({"checkpoints": "end", "restore_best": True}, "restore_best needs checkpoints: epoch"),
    ],
)
def test_settings_of_checkpoints_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**settings)


def test_what_is_minimised_is_the_loss_by_name_not_by_place(tmp_path):
    write(tmp_path / "data")
    train(task(tmp_path / "data", epochs=30), tmp_path, "a", logging_frequency=3)
    losses = [record["loss"] for record in read_records(tmp_path / "a" / "metrics.jsonl") if record["kind"] == "step"]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("stopped", [4, 6])
def test_a_run_goes_on_in_the_middle_of_an_epoch_as_if_in_one_go(tmp_path, stopped):
    write(tmp_path / "data")
    train(task(tmp_path / "data", epochs=4), tmp_path, "whole", **EVERY)
    made = task(tmp_path / "data", epochs=4)
    steps = iter(range(1, stopped + 2))

    def broken(batch: tuple, outputs: tf.Tensor) -> dict:
        tf.py_function(lambda: 1 / 0 if next(steps) > stopped else 0, [], tf.int64)
        return objective(batch, outputs)

    with pytest.raises(tf.errors.OpError):
        train(replace(made, objective=broken), tmp_path, "broken", **EVERY)
    assert checkpoints.list_steps(tmp_path / "broken" / "checkpoints")[-1] == stopped
    train(task(tmp_path / "data", epochs=4), tmp_path, "", resume=str(tmp_path / "broken"), **EVERY)
    for ours, theirs in zip(final(tmp_path / "broken"), final(tmp_path / "whole")):
        np.testing.assert_array_equal(ours, theirs)


def test_training_stops_at_the_target_and_a_resumed_run_does_not_begin_again(tmp_path):
    write(tmp_path / "data")
    made = task(tmp_path / "data", epochs=9, target=0.4)
    assert train(made, tmp_path, "a").updates == 3
    again = train(task(tmp_path / "data", epochs=9, target=0.4), tmp_path, "", resume=str(tmp_path / "a"))
    assert (again.updates, again.target_reached, again.evaluation) == (3, True, {"loss": 1.0, "right": 0.5})


@pytest.mark.parametrize(("optimizer", "scaled"), [("Adam", False), ("LAMB", False), ("Adam", True)])
def test_a_warm_up_leaves_no_trace(tmp_path, optimizer, scaled):
    """Weights, the optimizer's slots and counters, the loss scale, batch norms' statistics: bit for bit."""
    write(tmp_path / "data")

    def made() -> Task:
        tf.keras.utils.set_random_seed(1)
        layers = [tf.keras.layers.Dense(3, input_shape=(4,)), tf.keras.layers.BatchNormalization()]
        plain = task(tmp_path / "data")
        return replace(plain, network=tf.keras.Sequential([*layers, tf.keras.layers.Dense(1)]))

    for name, updates in (("cold", 0), ("warm", 3)):
        train(made(), tmp_path, name, warmup_steps=updates, optimizer=optimizer, scale_loss=scaled)
    for ours, theirs in zip(final(tmp_path / "warm"), final(tmp_path / "cold")):
        np.testing.assert_array_equal(ours, theirs)
    logs = [(tmp_path / name / "mlperf.log").read_text() for name in ("cold", "warm")]
    assert ['"warmup_steps", "value": 0' in logs[0], '"warmup_steps", "value": 3' in logs[1]] == [True, True]
    kinds = [[r["kind"] for r in read_records(tmp_path / name / "metrics.jsonl")] for name in ("cold", "warm")]
    assert kinds[0] == kinds[1]


def test_a_warm_up_comes_before_the_run_and_touches_no_data(tmp_path):
    write(tmp_path / "data")
    happened = []
    made = task(tmp_path / "data", epochs=1)

    def noting(batch: tuple, outputs: tf.Tensor) -> dict:
        tf.py_function(lambda values: happened.append(float(tf.reduce_max(tf.abs(values)))), [batch[0]], [])
        return objective(batch, outputs)

    log = tmp_path / "a" / "mlperf.log"
    rehearse = lambda: happened.append("run_start" in log.read_text())  # noqa: E731
    train(replace(made, objective=noting, rehearse=rehearse), tmp_path, "a", warmup_steps=2)
    assert happened[2] is False  # two updates, the evaluation's rehearsal, and only then the run
    assert min(happened[:2]) > 1 > max(happened[3:])  # the data lie between 0 and 1
    assert len(happened) == 2 + 1 + 3


def test_a_run_that_is_done_is_not_warmed_up(tmp_path):
    write(tmp_path / "data")
    train(task(tmp_path / "data", epochs=1), tmp_path, "a")
    made = replace(task(tmp_path / "data", epochs=1), rehearse=lambda: pytest.fail("rehearsed"))
    train(made, tmp_path, "", resume=str(tmp_path / "a"), warmup_steps=2)


def scores(values: list):
    """An evaluation that brings these scores, one an epoch."""
    left = iter(values)
    return lambda: {"loss": 1.0, "right": next(left)}


def test_training_stops_when_nothing_gets_better_and_keeps_the_best_checkpoint(tmp_path):
    write(tmp_path / "data")
    made = task(tmp_path / "data", epochs=9, scores=scores([0.2, 0.6, 0.5, 0.6, 0.1, 0.9]))
    summary = train(made, tmp_path, "a", patience=3, keep_checkpoints=1)
    assert (summary.updates, summary.stopped_early, summary.best_update) == (15, True, 6)
    assert summary.evaluation == {"loss": 1.0, "right": 0.1}
    assert checkpoints.list_steps(tmp_path / "a" / "checkpoints") == [6, 15]
    again = train(task(tmp_path / "data", epochs=9), tmp_path, "", resume=str(tmp_path / "a"), patience=3)
    assert (again.updates, again.stopped_early) == (15, True)


def test_patience_is_kept_over_a_resume(tmp_path):
    write(tmp_path / "data")
    train(task(tmp_path / "data", epochs=3, scores=scores([0.6, 0.5, 0.5])), tmp_path, "a", patience=3)
    made = task(tmp_path / "data", epochs=9, scores=scores([0.5, 0.9]))
    assert train(made, tmp_path, "", resume=str(tmp_path / "a"), patience=3).updates == 12


@pytest.mark.parametrize("resumed", [False, True])
def test_the_best_weights_are_given_back(tmp_path, resumed):
    write(tmp_path / "data")
    settings = {"restore_best": True, "keep_checkpoints": 1, "rate": 0.1}
    made = task(tmp_path / "data", epochs=4, scores=scores([0.2, 0.6, 0.5, 0.4]))
    summary = train(made, tmp_path, "a", **settings)
    if resumed:
        made = task(tmp_path / "data", epochs=4)
        summary = train(made, tmp_path, "", resume=str(tmp_path / "a"), **settings)
    assert summary.evaluation == {"loss": 1.0, "right": 0.6}
    stored = {step: checkpoints.load(tmp_path / "a" / "checkpoints", step).arrays for step in (6, 12)}
    for number, variable in enumerate(made.network.variables):
        best, last = (
            [a for name, a in stored[step].items() if name.startswith("network/")][number] for step in (6, 12)
        )
        np.testing.assert_array_equal(variable, best)
        assert not np.array_equal(variable, last)


def test_a_best_checkpoint_that_is_damaged_leaves_the_last_weights(tmp_path, capsys):
    write(tmp_path / "data")
    train(task(tmp_path / "data", epochs=2, scores=scores([0.6, 0.5])), tmp_path, "a")
    (tmp_path / "a" / "checkpoints" / "step-00000003" / "state.npz").write_bytes(b"torn")
    made = task(tmp_path / "data", epochs=2)
    summary = train(made, tmp_path, "", resume=str(tmp_path / "a"), restore_best=True)
    assert "the best checkpoint, after update 3, is damaged" in capsys.readouterr().out
    assert summary.evaluation["right"] == 0.5
    np.testing.assert_array_equal(made.network.variables[0], final(tmp_path / "a")[0])


def test_a_run_does_not_go_on_with_other_files(tmp_path):
    write(tmp_path / "data")
    train(task(tmp_path / "data", epochs=1), tmp_path, "a")
    np.save(tmp_path / "data" / "x3.npy", np.ones(4, np.float32))
    with pytest.raises(UserError, match="the training files are not those that the run began with"):
        train(task(tmp_path / "data"), tmp_path, "", resume=str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("ranks", "updates", "step", "allowed"), [(2, 3, 3, True), (2, 3, 4, False), (2, 6, 6, False), (1, 3, 4, True)]
)
def test_another_number_of_ranks_resumes_only_where_it_sees_the_same_samples(tmp_path, ranks, updates, step, allowed):
    checkpoint = checkpoints.Checkpoint(tmp_path, step, {}, {})
    saved, now = (loop.Progress(ranks=n, updates_per_epoch=u) for n, u in ((ranks, updates), (1, 3)))
    if allowed:
        loop._check_same_samples(checkpoint, saved, now)
    else:
        with pytest.raises(UserError, match=f"was saved on {ranks} ranks after update {step}"):
            loop._check_same_samples(checkpoint, saved, now)


def test_a_gradient_that_is_not_finite_behind_a_finite_loss_stops_the_run(tmp_path):
    """One NaN in a sample: the ReLU makes it 0, so the loss is finite, but the first kernel's gradient is NaN."""
    write(tmp_path / "data")
    np.save(tmp_path / "data" / "x2.npy", np.array([0.5, np.nan, 0.5, 0.5], np.float32))
    with pytest.raises(UserError, match="the gradient, though not the loss, is NaN or infinite at update"):
        train(task(tmp_path / "data"), tmp_path, "a", logging_frequency=1)
    assert not checkpoints.list_steps(tmp_path / "a" / "checkpoints")

"""What other programs' logs showed: figures that came out wrong before, each held to an answer computed by hand."""

import json
from pathlib import Path

import pytest

from common.report import __main__ as report
from common.report import compliance, generic, log_files
from common.report.olympic import olympic_table
from common.report.options import Options
from common.report.package import _ending
from common.report.throughput import throughput_table
from tests.common.report.test_report import PUBLISHED, read, texts, write_log

PUBLISHED_LOGS = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published logs are not at hand")


def cut_short(lines: list) -> list:
    """The last epoch ends after 1 of its 6 updates."""
    return [line.replace('"step_num": 18', '"step_num": 13') for line in lines]


def test_an_epoch_that_was_cut_short_counts_the_samples_of_its_updates(tmp_path):
    """6, 6 and 1 updates of 16 samples in three epochs of 10 s: 208 / 30 s, not 288 / 30 s."""
    one_pass = {"gradient_accumulation_frequency": 1, "train_samples": 96}
    log = read(write_log(tmp_path / "cut.log", change=cut_short, **one_pass))
    assert [epoch.samples for epoch in log.epochs()] == [96, 96, 16]
    assert log.samples_per_second() == pytest.approx(208 / 30)


def test_without_updates_the_last_epoch_is_left_out(tmp_path):
    """Nobody knows where in it the run ended."""

    def without_steps(lines: list) -> list:
        entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
        for entry in entries:
            entry["metadata"].pop("step_num", None)
        return [f":::MLLOG {json.dumps(entry)}" for entry in entries]

    log = read(write_log(tmp_path / "a.log", change=without_steps))
    assert [epoch.samples for epoch in log.epochs()] == [100, 100, None]
    assert log.samples_per_second() == pytest.approx(200 / 20)


@PUBLISHED_LOGS
def test_the_run_of_v0_7_that_reached_its_target_within_an_epoch():
    """1350 updates of 2048 samples, by hand: 22 epochs of 59 updates and one of 52; 23 x 121266 samples before."""
    (log,) = log_files.read(PUBLISHED / "fujitsu_v0.7_abci_1024xV100_open_2.txt")
    seconds = sum(epoch.seconds for epoch in log.epochs())
    assert sum(epoch.samples for epoch in log.epochs()) == 1350 * 2048
    assert log.samples_per_second() == pytest.approx(1350 * 2048 / seconds)
    assert log.epochs()[-1].samples == 52 * 2048


@PUBLISHED_LOGS
def test_a_log_whose_epoch_num_counts_samples_has_dashes_there():
    (log,) = log_files.read(PUBLISHED / "clemson_v3.0_openfold_0.txt")
    assert not log.counts_epochs
    assert not log.resumed
    assert log.samples_per_second() is log.time_to_epochs(16) is generic.epochs_to_target(log, 0.8) is None
    assert "epoch_num counts no epochs (5760, 11520, 17280 ...)" in "".join(log.problems)
    column = dict(zip(*(texts(column) for column in generic.runs_table([log], Options()).columns)))
    assert (column["epochs"], column["samples/s"], column["best evaluation"]) == ("-", "-", "0.8014")


def aborted(lines: list) -> list:
    return [line.replace('"status": "success"', '"status": "aborted"') for line in lines]


def test_a_run_that_was_aborted_has_not_reached_its_target_though_it_logged_it(tmp_path):
    times = (10.0, 11.0, 12.0, 5.0, 6.0)
    runs = [
        read(write_log(tmp_path / f"{n}.log", epoch_s=seconds, seed=n, change=aborted if n > 2 else None))
        for n, seconds in enumerate(times)
    ]
    table = olympic_table(runs, Options())
    assert (texts(table.columns[2]), texts(table.columns[3])) == (["3"], ["two runs missed"])
    assert generic.minutes_to_target(runs[3], None) is None
    assert generic.minutes_to_target(runs[3], 0.7) is not None  # asked for by the user, and reached


def test_the_mean_is_normalised_by_mlperf_s_convergence_point(tmp_path):
    """At batch 1024 runs of 12, 13, 12, 13, 13 epochs are faster than MLPerf's point: 10 minutes count 10.263."""
    epochs = (12, 13, 12, 13, 13)
    runs = []
    for number, count in enumerate(epochs):
        values = {"global_batch_size": 1024, "gradient_accumulation_frequency": 1, "target_accuracy_reached": 0.82}
        path = tmp_path / f"{number}.log"
        write_log(path, count, epoch_s=600 / count, seed=number, change=late_target(count), **values)
        runs.append(read(path))
    table = olympic_table(runs, Options())
    assert texts(table.columns[3]) == ["10.000"]
    assert texts(table.columns[4]) == ["10.263 (x 1.0263)"]


def late_target(epochs: int):
    """Scores that reach 0.82 in the last epoch alone."""

    def change(lines: list) -> list:
        entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
        for entry in entries:
            if entry["key"] == "eval_accuracy":
                entry["value"] = 0.83 if entry["metadata"]["epoch_num"] == epochs else 0.5
        return [f":::MLLOG {json.dumps(entry)}" for entry in entries]

    return change


def test_pruned_instances_count_among_the_accelerators_and_not_among_the_models(tmp_path):
    for number in range(6):
        part = "results" if number < 5 else "pruned_results"
        name = tmp_path / "centre" / part / "machine" / "weak" / f"result_{number}.txt"
        write_log(name, instance_id=number, seed=number)
    runs = report.load([tmp_path / "centre"])
    assert len(runs) == 6
    table = throughput_table(runs, Options())
    assert [texts(column)[0] for column in table.columns[1:4]] == ["24", "4", "5 of 6"]
    assert "result_5 was pruned by its submitter" in str(table.caption)


def test_many_logs_are_checked_by_one_process_as_one_by_one(tmp_path):
    runs = [read(write_log(tmp_path / f"{n}.log", submission_org=f"centre {n}")) for n in range(3)]
    together = compliance.verdicts(runs)
    assert list(together) == [run.name for run in runs]
    for run in runs:
        assert together[run.name] == compliance.verdicts([run])[run.name]
        assert len(together[run.name]) > 1  # these logs lack much


def test_the_package_checker_s_words_count_not_its_exit_code():
    lines = ["INFO - Running", "ERROR - Expected at least 5 runs, but detected 1 runs."]
    assert _ending("package_checker", lines, 0) == "package_checker found faults, as its output says (exit code 0)"
    assert _ending("package_checker", ["PACKAGE CHECKER FOUND NO ERRORS, SUCCESS"], 0) == "exit code 0"
    assert _ending("rcp_checker", lines, 1) == "exit code 1"


def test_the_same_log_twice_is_told_apart(tmp_path: Path):
    write_log(tmp_path / "a" / "x.log")
    write_log(tmp_path / "b" / "x.log")
    assert len({run.name for run in report.load([tmp_path / "a", tmp_path / "b"])}) == 2

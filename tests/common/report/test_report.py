"""Logs to figures and tables: known answers, broken logs, the published ones where they are at hand."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from common.errors import UserError
from common.report import __main__ as report
from common.report import generic, log_files, logs, scaling, tables
from common.report.olympic import olympic_table
from common.report.options import Options, show
from tests.helpers import GOLDEN, ROOT, run
from tf_deepcam.report import forms as deepcam_forms

PUBLISHED = ROOT.parent / "shared" / "published-logs"


def write_log(path: Path, epochs: int = 3, *, epoch_s: float = 10.0, change=None, **values) -> Path:
    """Events of a run: init 5 s, then epochs whose last 2 s are the evaluation, scores 0.60, 0.75, 0.90, ..."""
    settings = {
        "submission_benchmark": "deepcam",
        "submission_org": "a centre",
        "submission_division": "closed",
        "number_of_ranks": 4,
        "number_of_nodes": 2,
        "accelerators_per_node": 2,
        "global_batch_size": 16,
        "gradient_accumulation_frequency": 2,
        "opt_name": "LAMB",
        "opt_lr": 0.001,
        "scheduler_type": "multistep",
        "train_samples": 100,
        **values,
    }
    lines = []

    def event(seconds: float, key: str, value=None, **metadata) -> None:
        entry = {"namespace": "", "time_ms": 1000 * 10**9 + round(1000 * seconds), "event_type": "POINT_IN_TIME"}
        lines.append(f":::MLLOG {json.dumps({**entry, 'key': key, 'value': value, 'metadata': metadata})}")

    event(0, "init_start")
    for key, value in settings.items():
        event(1, key, value)
    event(5, "init_stop")
    event(5, "run_start")
    for epoch in range(1, epochs + 1):
        start, place = 5 + (epoch - 1) * epoch_s, {"epoch_num": epoch, "step_num": 6 * epoch}
        event(start, "epoch_start", epoch_num=epoch, step_num=6 * (epoch - 1))
        event(start + epoch_s - 2, "train_loss", 1 / epoch, **place)
        event(start + epoch_s - 2, "tracked_stats", {"throughput": 12.0 + epoch}, **place)
        event(start + epoch_s - 2, "eval_start", **place)
        event(start + epoch_s - 0.5, "eval_accuracy", 0.45 + 0.15 * epoch, **place)
        event(start + epoch_s, "eval_stop", **place)
        event(start + epoch_s, "epoch_stop", **place)
    event(5 + epochs * epoch_s, "run_stop", status="success")
    lines = change(lines) if change else lines
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path) -> logs.RunLog:
    (found,) = log_files.read(path)
    return found


def texts(column) -> list:
    return [str(cell) for cell in column.cells]


def test_figures_of_a_log(tmp_path):
    log = read(write_log(tmp_path / "a.log"))
    assert (log.ranks, log.local_batch, log.accumulation) == (4, 4, 2)
    assert (log.global_batch, log.samples_per_update) == (16, 32)
    assert (log.interval("init"), log.interval("run"), log.interval("staging")) == (5.0, 30.0, None)
    assert log.epochs() == [(n, 10.0, 2.0, 100) for n in (1, 2, 3)]
    assert (log.time_to_epochs(2), log.time_to_epochs(16)) == (20.0, None)
    assert log.samples_per_second() == pytest.approx(10.0)
    assert log.samples_per_second(training_only=True) == pytest.approx(12.5)
    assert log.logged_samples_per_second() == 14.0
    assert generic.epochs_to_target(log, None) == 3
    assert generic.minutes_to_target(log, None) == pytest.approx(29.5 / 60)
    assert generic.epochs_to_target(log, 0.7) == 2
    assert generic.epochs_to_target(log, 0.95) is None
    assert log.problems == []


def test_other_programs_lines_and_prefixes_are_passed_over(tmp_path):
    plain = read(write_log(tmp_path / "a.log"))
    mixed = read(
        write_log(tmp_path / "b.log", change=lambda lines: [t for line in lines for t in ("NCCL INFO", f"0: {line}")])
    )
    assert [(e.ms, e.key, e.value) for e in mixed.events] == [(e.ms, e.key, e.value) for e in plain.events]
    assert mixed.problems == []


def test_a_log_that_breaks_off_is_said_and_not_guessed(tmp_path):
    log = read(write_log(tmp_path / "a.log", change=lambda lines: [*lines[:-3], lines[-3][:70]]))
    assert log.interval("run") is None
    assert [each.epoch for each in log.epochs()] == [1, 2]
    bad, off = log.problems
    assert bad.startswith(f"line {log.events[-1].line + 1}: is not an MLPerf event: :::MLLOG")
    assert off == f"breaks off: no run_stop; the last event is eval_accuracy in line {log.events[-1].line}"


def test_two_runs_in_one_file_are_two_columns(tmp_path):
    path = write_log(tmp_path / "a.log", change=lambda lines: lines * 2)
    first, second = log_files.read(path)
    assert (first.name, second.name) == ("a #1", "a #2")
    assert first.interval("run") == second.interval("run") == 30.0
    assert second.problems == [
        f"the file holds 2 runs; this is the one that begins in line {len(first.events) + 1}",
    ]


def test_a_resumed_run_is_said_to_be_one(tmp_path):
    path = write_log(tmp_path / "a.log", change=lambda lines: [t for t in lines if '"epoch_num": 1' not in t])
    log = read(path)
    assert log.problems == ["begins in epoch 2 after update 6: resumed, times of the whole are not known"]
    assert (log.time_to_epochs(3), generic.minutes_to_target(log, None), generic.epochs_to_target(log, None)) == (
        None,
        None,
        3,
    )
    middle = read(
        write_log(tmp_path / "b.log", change=lambda lines: [t.replace('"step_num": 0', '"step_num": 4') for t in lines])
    )
    assert middle.resumed
    assert generic.minutes_to_target(middle, None) is None


def test_a_clock_that_steps_back_leaves_out_the_times_across_it(tmp_path):
    def turn_back(lines: list) -> list:
        place = next(n for n, line in enumerate(lines) if '"epoch_start"' in line and '"epoch_num": 3' in line)
        return lines[:place] + [
            re.sub(r'"time_ms": (\d+)', lambda m: f'"time_ms": {int(m[1]) - 60000}', t) for t in lines[place:]
        ]

    log = read(write_log(tmp_path / "a.log", change=turn_back))
    assert log.interval("run") is None
    assert [each.epoch for each in log.epochs()] == [1, 2, 3]
    assert log.time_to_epochs(2) == 20.0
    assert log.time_to_epochs(3) is None
    assert generic.minutes_to_target(log, None) is None
    assert "the clock steps back by 60 s" in log.problems[0]


def test_what_is_no_log_is_an_error(tmp_path):
    (tmp_path / "x.txt").write_text("hello\n")
    with pytest.raises(UserError, match=r"x\.txt: holds no line with :::MLLOG"):
        report.load([tmp_path / "x.txt"])
    with pytest.raises(UserError, match="is neither a run folder"):
        report.load([tmp_path])


def test_scaling_tells_strong_from_weak_and_names_the_missing_size(tmp_path):
    def runs(name: str, sizes: dict) -> list:
        return [
            read(write_log(tmp_path / f"{name}{n}.log", epoch_s=s, number_of_nodes=n, number_of_ranks=2 * n, **more))
            for n, (s, more) in sizes.items()
        ]

    strong = runs("strong", {1: (42.0, {}), 2: (22.0, {})})
    ((group),) = scaling.scaling_groups(strong)
    assert scaling.scaling_points(group)[:2] == ("nodes", "strong")
    made = scaling.scaling_table(group)
    assert texts(made.columns[2]) == ["1.00", "2.00"]
    assert str(made.caption).endswith("; no run on 4 nodes")
    weak = runs("weak", {n: (12.0, {"global_batch_size": 8 * n, "train_samples": 90 * n}) for n in (1, 2, 4)})
    ((group),) = scaling.scaling_groups(weak)
    assert scaling.scaling_points(group)[1] == "weak"
    assert texts(scaling.scaling_table(group).columns[4]) == ["100.0 %"] * 3
    assert "no run on" not in scaling.scaling_table(group).caption
    other = read(write_log(tmp_path / "other.log", submission_org="another"))
    assert scaling.scaling_groups([strong[0], other]) == []


def test_the_olympic_mean_drops_the_fastest_and_the_slowest_of_five(tmp_path):
    times = (10.0, 14.0, 18.0, 12.0, 40.0)
    runs = [read(write_log(tmp_path / f"{n}.log", epoch_s=seconds, seed=n)) for n, seconds in enumerate(times)]
    (score,) = texts(olympic_table(runs, Options()).columns[3])
    assert float(score) == pytest.approx(3 * (14 + 18 + 12) / 3 / 60, abs=5e-4)  # run_start to run_stop
    (score,) = texts(olympic_table(runs[:4], Options()).columns[3])
    assert score == "needs 5 runs"


def test_the_olympic_mean_refuses_equal_seeds_and_instances(tmp_path):
    runs = [read(write_log(tmp_path / f"{n}.log", seed=n % 4)) for n in range(5)]
    (score,) = texts(olympic_table(runs, Options()).columns[3])
    assert score == "none: seed 0 more than once"
    models = [read(write_log(tmp_path / f"{n}.log", seed=n, instance_id=n)) for n in range(5)]
    assert olympic_table(models, Options()) is None


def test_a_folder_of_logs_or_of_runs_is_read_as_all_of_them(tmp_path):
    for name in ("b/result_10.txt", "b/result_9.txt", "c/run/mlperf.log"):
        write_log(tmp_path / name)
    (tmp_path / "b" / "notes.txt").write_text("no log")
    assert [one.name for one in report.load([tmp_path / "b"])] == ["result_9", "result_10"]
    assert [one.name for one in report.load([tmp_path / "c"])] == ["run"]


def test_forms_say_the_rule_set_and_whether_nersc_s_iou_was_reached(tmp_path):
    ours = read(write_log(tmp_path / "a.log", rules="esif_optimized", run_type="optimized"))
    theirs = read(write_log(tmp_path / "b.log", 2))
    form = deepcam_forms.esif_table([ours, theirs], Options())
    assert texts(form.columns[1]) == ["optimized", "division closed"]
    form = deepcam_forms.nersc_table([ours, theirs], Options())
    assert (texts(form.columns[4]), texts(form.columns[5])) == (["0.9000", "0.7500"], ["yes", "no"])


def test_the_command_writes_tables_and_a_page(tmp_path):
    logs = [write_log(tmp_path / f"{n}.log", number_of_nodes=n, number_of_ranks=2 * n) for n in (1, 2)]
    output = run("-m", "common.report", *logs, "--html", tmp_path / "r.html", "--format", "csv", cwd=tmp_path)
    assert output.returncode == 0, output.stdout
    rows = list(csv.DictReader(io.StringIO("\n".join(output.stdout.splitlines()[:3]))))
    assert [row["nodes"] for row in rows] == ["1", "2"]
    assert rows[0]["time to target, min"] == "0.492"
    page = (tmp_path / "r.html").read_text()
    assert "<h3>ESIF form</h3>" in page
    assert "mlperf-logging&#x27;s checker says" in page
    assert not (tmp_path / "compliance_checker.log").exists()
    (tmp_path / "mine.html").write_text("mine")
    output = run("-m", "common.report", logs[0], "--html", tmp_path / "mine.html")
    assert output.returncode == 1
    assert (tmp_path / "mine.html").read_text() == "mine"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published logs are not at hand")
def test_published_logs_give_the_published_figures():
    names = ("hpe_lbnl_perlmutter_2048xA100_strong_1.txt", "nvidia_eos_2048xH100_strong_0.txt")
    perlmutter, eos = report.load([PUBLISHED / name for name in names])
    assert (round(eos.interval("run"), 1), round(eos.interval("staging"), 1)) == (49.6, 16.3)
    assert (len(eos.epochs()), round(eos.evaluations()[-1].value, 4)) == (24, 0.8233)
    assert (round(perlmutter.interval("run"), 1), perlmutter.interval("staging")) == (110.0, None)
    assert (len(perlmutter.epochs()), round(perlmutter.evaluations()[-1].value, 4)) == (28, 0.8212)
    assert generic.epochs_to_target(eos, None) == 24
    assert eos.problems == perlmutter.problems == []


def example_runs(folder: Path) -> list:
    """Logs whose figures follow from write_log's by hand: strong scaling, five alike, one that missed its target, one
    resumed, one of CloudMask, one of a benchmark that is not ours."""
    paths = [
        write_log(folder / f"n{n}.log", epoch_s=s, number_of_nodes=n, number_of_ranks=2 * n)
        for n, s in ((1, 42), (2, 22))
    ]
    paths += [write_log(folder / f"same{n}.log", epoch_s=10.0 + n, submission_org="another") for n in range(5)]
    paths.append(write_log(folder / "short.log", 1, submission_division="open", scheduler_type="cosine_annealing"))
    paths.append(write_log(folder / "late.log", change=lambda lines: [t for t in lines if '"epoch_num": 1' not in t]))
    paths.append(write_log(folder / "clouds" / "mlperf.log", submission_benchmark="cloudmask", accelerators_per_node=0))
    paths.append(write_log(folder / "other.log", submission_benchmark="cosmoflow", number_of_ranks=None))
    inference = {"kind": "inference", "time_per_inference": 1.25, "scores": {"network": {"pixel_accuracy": 0.9018}}}
    (folder / "clouds" / "metrics.jsonl").write_text(json.dumps(inference) + "\n")
    return [read(path) for path in paths]


def test_the_tables_of_these_logs_are_these(tmp_path):
    """Looked at line by line when they were written; `python -m tests.common.report.golden` writes them anew."""
    made = report.tables(example_runs(tmp_path), Options(None, 2))
    found = "\n\n".join(map(tables.markdown, made)) + "\n"
    assert found == (GOLDEN / "report.md").read_text(encoding="utf-8")


def test_values_are_shown_as_they_are_or_as_a_dash():
    assert [show(value) for value in (None, 3, "x", 0.5)] == ["-", "3", "x", "0.5"]
    assert [show(value, ".2f") for value in (None, 3, "x", [1])] == ["-", "3.00", "x", "[1]"]


def test_targets_and_shares_follow_from_what_the_log_says(tmp_path):
    said = read(write_log(tmp_path / "said.log", target_accuracy_reached=0.7))
    assert (generic.target_of(said, None), generic.target_of(said, 0.9)) == (0.7, 0.9)
    assert generic.target_of(read(write_log(tmp_path / "plain.log")), None) == 0.82
    bare = read(write_log(tmp_path / "bare.log", number_of_nodes=None, number_of_ranks=None))
    assert (generic.gpus(bare), generic.per_rank(10.0, bare), generic.per_rank(None, said)) == (None, None, None)
    assert (generic.gpus(said), generic.per_rank(10.0, said)) == (4, 2.5)

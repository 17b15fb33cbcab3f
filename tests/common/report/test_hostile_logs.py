"""Untrusted logs and run folders: whatever stands where a number belongs, tables are made and nothing is obeyed."""

import json

import pytest

from cloudmask.report.forms import Figures
from common.report import __main__ as report
from common.report import log_files, tables
from common.report.options import Options
from common.report.page import page
from tests.common.report.test_report import write_log
from tests.helpers import run

ODD = [
    "many",
    [1, 2],
    {"a": 1},
    None,
    True,
    -1,
    0,
    1e400,
    10**400,
    "\x1b[31mred",
    "[/red]",
    "\ud800",
    "<script>alert(1)</script>",
]
KEYS = [
    "number_of_ranks",
    "number_of_nodes",
    "accelerators_per_node",
    "global_batch_size",
    "gradient_accumulation_frequency",
    "opt_name",
    "opt_lr",
    "scheduler_type",
    "train_samples",
    "submission_benchmark",
    "submission_org",
    "submission_division",
    "precision_mode",
]


@pytest.mark.parametrize("odd", ODD, ids=lambda value: repr(value)[:20])
def test_odd_values_never_break_the_tables(tmp_path, odd, capsys):
    paths = [write_log(tmp_path / f"{key}.log", **{key: odd}) for key in KEYS]
    runs = [log for path in paths for log in log_files.read(path)]
    made = report.tables(runs, Options())
    tables.show(*made)
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown
    text = page(runs, Options(), {})
    assert "<script>alert" not in text
    assert "\x1b[31m" not in text
    assert text.encode("utf-8")  # half a surrogate pair could not be written
    assert all(tables.markdown(one) for one in made)


@pytest.mark.parametrize("odd", ODD, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("key", ["time_ms", "metadata", "key", "epoch_num", "throughput"])
def test_odd_parts_of_events_are_reported_or_passed_over(tmp_path, key, odd):
    def change(lines: list) -> list:
        entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
        for entry in entries[-8:]:
            if key in entry:
                entry[key] = odd
            elif key == "epoch_num" and key in entry["metadata"]:
                entry["metadata"][key] = odd
            elif key == "throughput" and isinstance(entry["value"], dict):
                entry["value"][key] = odd
        return [f":::MLLOG {json.dumps(entry)}" for entry in entries]

    runs = log_files.read(write_log(tmp_path / "a.log", change=change))
    assert report.tables(runs, Options())


def test_an_untrusted_run_folder_is_one_line_or_a_table(tmp_path):
    write_log(tmp_path / "run" / "mlperf.log", submission_benchmark="cloudmask")
    records = ["[1]", "7", '{"kind": 3}', '{"kind": "inference", "scores": [], "time_per_inference": "x"}', "{" * 5000]
    (tmp_path / "run" / "metrics.jsonl").write_text("\n".join(records))
    runs = report.load([str(tmp_path / "run")])
    assert Figures.of(runs[0]) == Figures()
    assert report.tables(runs, Options())


def test_a_log_s_markup_is_shown_as_it_is(tmp_path):
    output = run("-m", "common.report", write_log(tmp_path / "a.log", submission_org="[bold]x[/red]"), cwd=tmp_path)
    assert output.returncode == 0, output.stdout
    assert "[bold]x[/red]" in output.stdout

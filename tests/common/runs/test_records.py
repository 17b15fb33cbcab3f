"""Records of a long run: which of them count, and that a longer file takes no more memory."""

import json
import subprocess
import sys

import pytest

from common.errors import UserError
from common.runs import records
from tests.common.report.test_report import write_log
from tests.helpers import ROOT, environment


def lines(path, *values) -> list[dict]:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return list(values)


def step(number: int, **more: object) -> dict:
    return {"kind": "step", "step": number, **more}


def resume(number: int) -> dict:
    return {"kind": "resume", "step": number}


def test_what_several_resumes_repeat_counts_once(tmp_path):
    """By hand: the second resume goes back behind the first one, the third does not."""
    path = tmp_path / "metrics.jsonl"
    first = [step(1), step(2), step(3), resume(2), step(3, again=1), step(4), resume(1), step(2, again=2)]
    every = lines(path, *first, step(3), resume(2), step(3, again=3), {"kind": "inference"})
    kept = [every[index] for index in (0, 6, 7, 9, 10, 11)]
    assert records.read_records(path) == kept
    assert records.read_records(path, "step") == [every[index] for index in (0, 7, 10)]
    assert records.last(path, "step") == step(3, again=3)
    assert records.last(path, "epoch") is None
    assert records.read_records(tmp_path / "none") == []


@pytest.mark.parametrize("content", ["", "\n\n", "[1]\n", '{"kind": 1}\n', '{"kind": "st'])
def test_a_file_without_any_record_is_said_to_be_damaged(tmp_path, content):
    path = tmp_path / "metrics.jsonl"
    records.check(path)  # not there: a log alone
    path.write_text(content)
    with pytest.raises(UserError, match=r"metrics\.jsonl: holds no record"):
        records.check(path)
    write_log(tmp_path / "mlperf.log")
    words = [sys.executable, "-m", "common.report", str(tmp_path)]
    if not content:
        done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True)
        assert done.stderr == f"error: {path}: holds no record: it is empty or damaged\n"
        assert (done.stdout, done.returncode) == ("", 1)


def test_a_line_that_is_too_long_for_a_record_is_passed_over(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    lines(path, step(1), step(2, more="x" * 1000), step(3))
    monkeypatch.setattr(records, "_LONGEST_LINE", 100)
    assert records.read_records(path) == [step(1), step(3)]


MEMORY = """
import resource, sys
from common.report import __main__ as report
peaks = []
for folder in sys.argv[1:]:
    sys.argv = ["common.report", folder, "--format", "csv"]
    assert report.main() == 0
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


def test_a_report_of_a_long_run_takes_no_more_memory(tmp_path):
    """23 MB of steps, which took 160 MB as objects."""
    line = json.dumps(step(1, epoch=1, loss=0.5, learning_rate=0.001, time=1764000000.123, accuracy=0.25))
    folders = [tmp_path / name for name in ("small", "large")]
    for folder, count in zip(folders, (1, 200_000)):
        write_log(folder / "mlperf.log", submission_benchmark="cloudmask")
        (folder / "metrics.jsonl").write_text(f"{line}\n" * count)
    words = [sys.executable, "-c", MEMORY, *map(str, folders)]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 20_000  # KiB

"""Published results beside runs."""

import pytest

from common.cli.registry import Benchmark, benchmarks
from common.errors import UserError
from common.report import published
from common.report.options import Options
from tests.common.report.test_report import read, write_log
from tests.helpers import run


@pytest.mark.parametrize(
    ("name", "rows", "first"),
    [
        ("cloudmask", 7, ("V100 (PEARL)", 1, 4687, 160, None, "0.851")),
        ("deepcam", 14, ("V100 (ABCI)", 1024, None, None, 10.49, None)),
    ],
)
def test_every_benchmark_has_published_results_with_their_sources(name, rows, first):
    found, source = published.rows_of(benchmarks()[name])
    row = found[0]
    assert len(found) == rows
    values = (row.training_seconds, row.samples_per_second, row.minutes_to_target, row.score)
    assert (row.machine, row.accelerators, *values) == first
    assert len(source) > 40


def test_runs_stand_above_the_published_rows(tmp_path):
    mine = read(write_log(tmp_path / "mine.log"))
    (made,) = published.tables([mine], Options())
    names = list(made.columns[0].cells)
    assert str(names[0]) == "mine"
    assert len(names) == 15
    assert all(str(name).startswith("published: ") for name in names[1:])
    assert "MLPerf HPC: olympic means" in str(made.caption)


def test_the_command_shows_them_on_request(tmp_path):
    log = write_log(tmp_path / "clouds.log", submission_benchmark="cloudmask")
    with_them = run("-m", "common.report", log, "--with", "published", "--format", "markdown")
    assert with_them.returncode == 0, with_them.stdout
    assert "| published: arXiv 2403.04553 | A100, V100 | 1 | - | - | - | - | 0.884 to 0.896 |" in with_them.stdout
    assert "published" not in run("-m", "common.report", log, "--format", "markdown").stdout


def test_a_damaged_table_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    (tmp_path / "mine" / "published.yaml").write_text("source: x\nresults: [{who: me, gpus: 3}]\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"published\.yaml: cannot be read as published results"):
        published.rows_of(Benchmark("mine", "mine", "Mine", "train", "f1"))

"""The report's page: what stands where, that nothing of a log becomes markup or script, that nothing is fetched."""

import json
import re
from pathlib import Path

import pytest

from common.report import curves, log_files, scaling
from common.report.options import Options
from common.report.page import page
from common.report.tables import HtmlRow, html_table
from tests.common.report.test_report import read, write_log
from tests.helpers import ROOT

PUBLISHED = ROOT.parent / "shared" / "published-logs"
PNG = b"\x89PNG\r\n\x1a\n"
BREAKOUT = '</script><script>alert("x")</script>&'


def charts_of(text: str) -> list:
    """The data of each section's charts."""
    return [
        json.loads(data) for data in re.findall(r'<script type="application/json" class="data">(.*?)</script>', text)
    ]


def cells_of(row: str) -> list:
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def test_each_benchmark_has_a_section_and_other_logs_the_last(tmp_path):
    names = ("cosmoflow", "cloudmask", "deepcam")
    runs = [read(write_log(tmp_path / f"{name}.log", submission_benchmark=name)) for name in names]
    text = page(runs, Options(), {"deepcam": ["SUCCESS"]})
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["CloudMask", "DeepCAM", "Other logs"]
    assert [data["runs"] for data in charts_of(text)] == [["cloudmask"], ["deepcam"], ["cosmoflow"]]
    order = [
        "<h3>Verdict</h3>",
        '<div class="charts">',
        "<h3>CloudMask form</h3>",
        "<h2>DeepCAM</h2>",
        "<h3>ESIF form</h3>",
    ]
    assert sorted(order, key=text.index) == order
    assert text.count("<h3>Compliance</h3>") == 1


def test_the_verdict_tells_reached_from_missed_above_what_others_published(tmp_path):
    reached, missed = read(write_log(tmp_path / "far.log")), read(write_log(tmp_path / "near.log", 2))
    text = page([reached, missed], Options(epochs=2), {})
    first, second, heading, published = re.findall(r"<tr .*?</tr>", text)[:4]
    assert cells_of(first)[:9] == ["far", "0.49", "3", "20.0", "30.0", "2.50", "0.9000", "2 × 2", "4"]
    assert cells_of(second)[:3] == ["near", "missed, best 0.7500", "-"]
    assert ('class="run reached"' in first, 'class="run missed"' in second) == (True, True)
    assert cells_of(heading)[0] == "published results"
    assert cells_of(published)[:2] == ["MLPerf v0.7, open", "10.49"]


def test_a_run_without_a_target_or_with_an_unknown_time_says_so(tmp_path):
    def without_the_first_epoch(lines: list) -> list:
        return [line for line in lines if '"epoch_num": 1' not in line]

    runs = [
        read(write_log(tmp_path / "clouds.log", submission_benchmark="cloudmask")),
        read(write_log(tmp_path / "late.log", change=without_the_first_epoch)),
    ]
    clouds, late = [row for row in re.findall(r"<tr .*?</tr>", page(runs, Options(), {})) if "--run" in row]
    assert cells_of(clouds)[1] == "no target"
    assert cells_of(late)[1] == "reached, time not known"


def test_the_charts_hold_the_points_of_the_log(tmp_path):
    (data,) = charts_of(page([read(write_log(tmp_path / "a.log"))], Options(), {}))
    charts = {chart["title"]: chart for chart in data["charts"]}
    time, epoch = charts["Score of the evaluation by time"], charts["Score of the evaluation by epoch"]
    assert (time["xlog"], time["targets"]) == (True, [0.82])
    assert time["curves"][0]["x"] == pytest.approx([9.5 / 60, 19.5 / 60, 29.5 / 60], rel=1e-5)
    assert epoch["curves"][0]["x"] == [1, 2, 3]
    assert epoch["curves"][0]["y"] == pytest.approx([0.6, 0.75, 0.9])
    (loss,) = charts["Loss: training solid, evaluation dashed"]["curves"]
    assert (loss["name"], loss["dashed"], loss["y"][0]) == ("a, training", False, 1)
    (rate,) = charts["samples/s per rank, without evaluation"]["curves"]
    assert rate["y"] == [3.125] * 3  # 100 samples in 8 s on 4 ranks
    assert "Learning rate" not in charts  # the log has none


def test_curves_rise_hold_one_point_an_x_and_are_thinned_out_to_the_last():
    curve = curves._curve("a", 0, [(3, 1.0), (1, 2.0), (3, 5.0)])
    assert (curve.x, curve.y) == ([1, 3], [2.0, 3.0])
    long = curves._curve("a", 0, [(n, n / 3) for n in range(1001)])
    assert len(long.x) == 335
    assert (long.x[0], long.x[-1], long.y[1]) == (0, 1000, 1)


def test_a_logarithmic_axis_is_given_nothing_that_it_cannot_show(tmp_path):
    def zero(lines: list) -> list:
        return [line.replace('"value": 0.5', '"value": 0').replace('"value": 1.0', '"value": 5e-324') for line in lines]

    charts = curves.charts([read(write_log(tmp_path / "a.log", change=zero))], Options())
    (loss,) = next(chart for chart in charts if chart.ylog).curves
    assert loss.x == [3]


def test_the_scaling_chart_has_the_ideal_and_the_measured_line(tmp_path):
    sizes = {1: 42.0, 2: 22.0}
    runs = [
        read(write_log(tmp_path / f"{n}.log", epoch_s=s, number_of_nodes=n, number_of_ranks=2 * n))
        for n, s in sizes.items()
    ]
    (group,) = scaling.scaling_groups(runs)
    chart = curves.scaling_chart(group)
    assert (chart.x, chart.ticks) == ("nodes", (1, 2))
    assert [(curve.name, curve.y) for curve in chart.curves] == [("ideal", [1, 2]), ("measured", [1, 2])]


def test_a_hostile_name_stays_text(tmp_path):
    run = read(write_log(tmp_path / "a.log", opt_name=BREAKOUT, submission_platform=BREAKOUT))
    run.name = BREAKOUT
    text = page([run], Options(), {BREAKOUT: [BREAKOUT]})
    assert "<script>alert" not in text
    assert charts_of(text)[0]["runs"] == [BREAKOUT]
    assert re.findall(r"<script[^>]*>", text) == ['<script type="application/json" class="data">', "<script>"]
    assert text.count("</script>") == 2


def test_the_page_is_one_small_file_that_asks_no_server(tmp_path):
    text = page([read(write_log(tmp_path / "a.log"))], Options(), {})
    assert "default-src 'none'" in text
    assert re.findall(r"""(?:src|href)=["']?(?!#|data:)[^"'\s>]+""", text) == []
    assert "@import" not in text
    assert "url(" not in text
    assert len(text) < 100_000


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published logs are not at hand")
def test_published_logs_are_a_small_page():
    paths = sorted(PUBLISHED.rglob("result_*.txt"))
    text = page([run for path in paths for run in log_files.read(path)], Options(), {})
    assert len(paths) == 10
    assert len(text) < 200_000


def test_pictures_of_predictions_are_inside_and_nothing_else_is(tmp_path):
    folder = tmp_path / "run" / "pictures"
    write_log(tmp_path / "run" / "mlperf.log", submission_benchmark="cloudmask")
    folder.mkdir()
    for name in ("curves", "calibration", "sample-00", "sample-01", "sample-02", "sample-03"):
        (folder / f"{name}.png").write_bytes(PNG + name.encode())
    (folder / "a.png").write_bytes(b"<svg onload=alert(1)>")
    text = page([read(tmp_path / "run" / "mlperf.log")], Options(), {})
    assert re.findall(r"<figcaption>(.*?)</figcaption>", text) == [f"run: sample-0{n}.png" for n in range(3)]
    assert text.count("data:image/png;base64,") == 3


def test_a_table_escapes_what_it_shows():
    text = html_table("<b>", ["<i>"], ["left"], [HtmlRow(["a_<b>"])], "<p>")
    assert re.findall(r"<(?!/?(?:h3|div|table|thead|tbody|tr|th|td|p|wbr)\b)\w+", text) == []
    assert '<td class="left">a_<wbr>&lt;b&gt;</td>' in text


def test_the_assets_come_with_their_licence_and_end_no_script():
    assets = Path(curves.__file__).with_name("assets")
    assert "MIT" in (assets / "uPlot.LICENSE").read_text()
    assert [path.name for path in assets.glob("*.js") if "</script" in path.read_text(encoding="utf-8")] == []

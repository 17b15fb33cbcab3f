"""Made-up scenes whose labels err, masked as a user does it: a second column against the truth."""

import pytest

from cloudmask.records import Inference
from cloudmask.report import one_run
from common.runs.kinds import as_json
from tests.cloudmask.conftest import scenes_with_wrong_labels
from tests.helpers import records, run


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """Scenes with one label in five wrong, a network trained on them, and their masks."""
    folder = tmp_path_factory.mktemp("truth")
    settings = [*scenes_with_wrong_labels(folder, 6), "output.run_name=first"]
    output = run("-m", "cloudmask", "run", *settings, "training.epochs=1", "output.tensorboard=false")
    assert output.returncode == 0, output.stdout
    return folder / "first"


def test_labels_are_judged_as_the_masks_are(masked):
    """By share of pixels; some lie outside the swath, so that it is not exactly the rate."""
    (found,) = records(masked, "inference")
    assert set(found["truth"]["scores"]) == {"network", "baseline", "summary", "labels"}
    assert found["truth"]["scores"]["labels"]["accuracy_all_pixels"] == pytest.approx(0.8, abs=2e-3)
    assert "labels" not in found["scores"]
    assert found["truth"]["strata"]["ocean"].keys() == {"network", "baseline", "summary", "labels"}
    scene = records(masked, "scene")[0]
    assert 0 < scene["accuracy_against_truth"] != scene["pixel_accuracy"]


def test_the_report_has_a_column_against_the_truth(masked):
    (found,) = records(masked, "inference")
    text = (masked / "report.md").read_text()
    labels, network = (found["truth"]["scores"][name]["pixel_accuracy"] for name in ("labels", "network"))
    assert f"| the labels themselves |  |  |  |  |  |  |  |  |  | {labels:.4f} |" in text
    row = next(line for line in text.splitlines() if line.startswith("| network |"))
    assert row.endswith(f"| {network:.4f} |")
    tables = run("-m", "common.report", masked, "--format", "markdown").stdout
    assert f"| {found['scores']['network']['pixel_accuracy']:.4f} | {network:.4f} |" in tables


def test_the_report_lists_where_network_and_labels_differ_most(masked):
    """Scenes and kinds of pixel in order, and a picture of the first scenes."""
    text = (masked / "report.md").read_text()
    found = sorted(records(masked, "scene"), key=lambda scene: -scene["disagreement"]["share"])
    first = found[0]["disagreement"]
    assert first["share"] == pytest.approx(1 - found[0]["pixel_accuracy"])
    assert f"| {found[0]['name']} | {first['share']:.2%} | {first['network_only']:.2%} |" in text
    places = [text.index(f"| {scene['name']} | {scene['disagreement']['share']:.2%}") for scene in found[:5]]
    assert places == sorted(places)
    (inference,) = records(masked, "inference")
    _, rows = text.split("## Kinds of pixel in which network and labels differ most")
    shares = [float(row.split("|")[3].strip(" %")) for row in rows.splitlines() if row.startswith("| ") and "%" in row]
    assert len(shares) == len(inference["strata"]) > 3
    assert shares == sorted(shares, reverse=True)
    assert "![network and labels differ](pictures/disagreement-1.png)" in text
    assert (masked / "pictures" / "disagreement-2.png").stat().st_size > 5000


@pytest.mark.parametrize(("labels", "columns"), [(1.0, 0), (0.999, 1)])
def test_labels_that_are_the_truth_are_not_judged_by_it(labels, columns):
    scores = {"network": {"pixel_accuracy": 0.9}}
    inference = Inference(
        "whole",
        *("float32", False, 1, 1, [], 1, 1.0, 1.0, 1.0, 1.0),
        scores=scores,
        truth={"scores": {**scores, "labels": {"pixel_accuracy": labels}}},
    )
    table = next(
        each for each in one_run.tables([as_json(inference)]) if str(each.title) == "Scores against the labels"
    )
    assert sum("truth" in str(column.header) for column in table.columns) == columns

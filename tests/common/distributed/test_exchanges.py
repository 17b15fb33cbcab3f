"""What ranks exchange, by what Horovod's reductions can take.

Its Max and Min lose a rank's NaN. Its Average adds up in the tensor's own type before it divides, so that half
precision overflows.
"""

import ast
import json
from pathlib import Path

import pytest

from tests.helpers import ROOT, run


def reductions(path: Path) -> set[str]:
    """Names that a file takes from Horovod and that are reductions."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("hvd")}
    return names & {"Adasum", "Average", "Max", "Min", "Product", "Sum"}


def test_sums_and_averages_are_the_only_reductions():
    used = {
        path.relative_to(ROOT).as_posix(): reductions(path)
        for package in ("common", "cloudmask", "tf_deepcam")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {path: names for path, names in used.items() if names} == {
        "common/distributed/backends.py": {"Average", "Sum"}
    }


@pytest.fixture(scope="module")
def exchanges(tmp_path_factory) -> dict:
    """{"benchmark precision compress": the exchanges of a training step}."""
    output = tmp_path_factory.mktemp("exchanges") / "out.json"
    done = run(Path(__file__).with_name("exchanges.py"), output, ranks=2)
    assert done.returncode == 0, done.stdout
    return json.loads(output.read_text())


def test_averages_are_of_float32_and_what_is_summed_was_divided_before(exchanges):
    assert len(exchanges) == 6
    for step, sent in exchanges.items():
        compresses = step.endswith("True")
        assert any(each["average"] for each in sent), step
        assert {each["type"] for each in sent if each["average"]} == {"float32"}, step
        sums = [each for each in sent if each["sum"]]
        assert len(sums) + sum(each["average"] for each in sent) == len(sent), step
        assert bool(sums) == compresses, step
        assert all((each["type"], each["source"]) == ("float16", "RealDiv") for each in sums), step

"""How programs end where nobody reads what they print."""

import subprocess
import sys

import pytest

from tests.helpers import ROOT, environment


@pytest.mark.parametrize(
    "words", ["common.report --help", "common.config docs", "common.launch --help", "cloudmask --help", "common.run -h"]
)
def test_a_pipe_that_is_closed_early_is_no_traceback(words):
    """As in `python -m common.config docs | head -1`."""
    command = f"{sys.executable} -m {words} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=100
    )
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0: it had written all before the reader went


def test_registered_benchmarks_are_found_by_name_in_any_case():
    from common.cli.registry import benchmarks, find, of_package
    from common.errors import UserError

    assert list(benchmarks()) == ["cloudmask", "deepcam"]
    assert find("DeepCAM", "x.yaml:1").package == of_package("tf_deepcam").package == "tf_deepcam"
    with pytest.raises(UserError, match=r"x\.yaml:1: there is no benchmark 'cloudmark': did you mean 'cloudmask'\?"):
        find("cloudmark", "x.yaml:1")

"""How programs end where nobody reads what they print."""

import subprocess
import sys

import pytest

from common.distributed import status
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


def test_an_output_that_is_closed_from_the_start_is_no_traceback():
    command = f"{sys.executable} -m common.config list >&-"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_rank_that_fails_before_ranks_are_connected_is_named_by_its_launcher_s_number(tmp_path):
    status.end("fault", "boom", 1, {"HOROVOD_SIZE": "2", "HOROVOD_RANK": "1", status.VARIABLE: str(tmp_path)})
    assert [ending.rank for ending in status.read_endings(tmp_path)] == [1]

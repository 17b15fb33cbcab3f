"""training.recompute where ranks share batch statistics, whose exchange is then made twice in a step."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import run


@pytest.mark.slow
def test_ranks_that_share_statistics_take_the_same_step_with_recomputed_activations(tmp_path):
    output = run(Path(__file__).with_name("recompute.py"), tmp_path / "out.npz", ranks=2)
    assert output.returncode == 0, output.stdout
    found = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(found["recomputed"], found["kept"], atol=1e-5)

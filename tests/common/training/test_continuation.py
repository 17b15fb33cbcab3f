"""A run on other ranks than it began on: how its global batch is shared out, what is refused, what it ends with."""

import numpy as np
import pytest

from common import distributed
from common.errors import UserError
from common.runs.folder import Run
from common.training import checkpoints
from common.training.continuation import divide_batch, keep_global_batch
from common.training.settings import TrainingSettings, batch_sizes
from tests.helpers import TINY, kill_after, run, write_scenes


@pytest.mark.parametrize(
    ("total", "ranks", "local", "expected"),
    [
        (12, 2, 2, (2, 3)),  # three ranks of 2 x 2 became two: one pass more
        (12, 1, 2, (2, 6)),
        (6, 2, 2, (1, 3)),  # 3 samples a rank are no multiple of 2
        (24, 3, 6, (4, 2)),
        (12, 6, 4, (2, 1)),  # more ranks than at the beginning
        (7, 1, 3, (1, 7)),
    ],
)
def test_forward_passes_keep_their_size_or_become_smaller(total, ranks, local, expected):
    assert divide_batch(total, ranks, local) == expected
    assert ranks * expected[0] * expected[1] == total


def test_ranks_that_do_not_divide_the_global_batch_are_refused():
    with pytest.raises(
        UserError, match="global batch of 8 cannot be divided evenly among 3 ranks: resume on 2, or on another divisor"
    ):
        divide_batch(8, 3, 2)


@pytest.mark.parametrize("settings", [{"local_batch_size": 4}, {"global_batch_size": 12}])
def test_settings_follow_the_run_s_beginning(monkeypatch, tmp_path, capsys, settings):
    monkeypatch.setattr(distributed, "size", lambda: 2)
    asked = TrainingSettings(**settings)
    assert keep_global_batch(asked, Run(tmp_path, True)) is asked
    now = keep_global_batch(asked, Run(tmp_path, True, began_on=3))
    assert batch_sizes(now, 2)[:3] == (3, 6, 12)
    said = "a run that began on 3: the global batch stays 12, local batch 3 x 2 passes (4 x 1 before)"
    assert said in capsys.readouterr().out


@pytest.mark.slow
def test_killed_on_two_ranks_a_run_ends_on_one_with_the_same_weights_to_within_rounding(tmp_path):
    write_scenes(tmp_path / "scenes", 5)  # 24 patches to train on: 6 updates of 4

    def train(name: str, *more: str) -> list:
        settings = [*TINY, f"data.train_dir={tmp_path}/scenes", "training.epochs=2", f"output.folder={tmp_path}"]
        often = ["training.checkpoints=steps", "training.save_frequency=2", "training.deterministic=true", "threads=1"]
        return ["-m", "cloudmask", "train", *settings, *often, f"output.run_name={name}", *more]

    assert run(*train("whole"), ranks=2).returncode == 0
    kill_after(train("killed"), tmp_path / "killed", 2, ranks=2)
    stopped = checkpoints.list_steps(tmp_path / "killed" / "checkpoints")[-1]
    assert stopped % 6, "the run was to be killed in the middle of an epoch"
    resumed = run("-m", "cloudmask", "train", "--resume", tmp_path / "killed")
    assert resumed.returncode == 0, resumed.stdout
    assert "resuming on 1 ranks a run that began on 2: the global batch stays 4" in resumed.stdout
    whole, killed = (
        checkpoints.load_newest(tmp_path / name / "checkpoints", pytest.fail) for name in ("whole", "killed")
    )
    assert whole.step == killed.step == 12
    for name, array in whole.arrays.items():
        np.testing.assert_allclose(killed.arrays[name], array, rtol=1e-4, atol=1e-5, err_msg=name)

"""A run's checkpoint as the reference's .cpt, and training that goes on from one."""

import os
import sys

import numpy as np
import pytest
import yaml

from common.errors import UserError
from common.training import checkpoints
from tests.helpers import errors, records, run
from tests.tf_deepcam.samples import TINY, write_samples
from tf_deepcam.network import reference_checkpoint
from tf_deepcam.tools import export


def saved(folder, *updates: int) -> None:
    for update in updates:
        position = {"updates_per_epoch": 4, "ranks": 1}
        checkpoints.save(folder / "checkpoints", update, {"a": np.zeros(1)}, position, keep=9)


def test_the_newest_checkpoint_of_an_epoch_s_end_is_taken(tmp_path):
    saved(tmp_path, 4, 8, 9, 10)
    assert export.at_epoch_end(tmp_path / "checkpoints", None).step == 8
    assert export.at_epoch_end(tmp_path / "checkpoints", 4).step == 4
    with pytest.raises(UserError, match=r"update 9 is not the end of an epoch.* an epoch has 4 updates"):
        export.at_epoch_end(tmp_path / "checkpoints", 9)
    with pytest.raises(UserError, match=r"holds no checkpoint of update 5: there are 4, 8, 9, 10"):
        export.at_epoch_end(tmp_path / "checkpoints", 5)
    with pytest.raises(UserError, match=r"holds no checkpoint: there are none"):
        export.at_epoch_end(tmp_path / "nothing", None)


def test_what_cannot_be_exported_is_said_first(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"--to .*out\.npz: the reference's checkpoints are \.cpt files"):
        export.main(str(tmp_path), str(tmp_path / "out.npz"), None)
    (tmp_path / "there.cpt").touch()
    with pytest.raises(UserError, match=r"there\.cpt: exists already and is left as it is"):
        export.main(str(tmp_path), str(tmp_path / "there.cpt"), None)
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        export.main(str(tmp_path), str(tmp_path / "nowhere" / "out.cpt"), None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="needs the package torch, which is not installed: pip install torch"):
        export.main(str(tmp_path), str(tmp_path / "out.cpt"), None)


def test_a_setting_without_its_file_is_refused():
    output = run("-m", "tf_deepcam", "train", "model.checkpoint_resumes=true", "model.checkpoint=model.npz")
    assert output.returncode != 0
    assert "checkpoint_resumes needs checkpoint, a .cpt of the reference; found 'model.npz'" in errors(output.stdout)[0]


LAMB = ["optimizer.optimizer=LAMB", "optimizer.start_lr=0.003", "training.gradient_accumulation_frequency=2"]
SCHEDULE = ["schedule.lr_schedule=multistep", "schedule.milestones=[3]", "schedule.lr_warmup_steps=2"]


def test_going_on_from_the_reference_s_file_is_bit_for_bit_going_on_from_our_own(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is optional and not installed")
    write_samples(tmp_path / "data", 9, 2)
    settings = [*TINY, *LAMB, *SCHEDULE, f"data.data_dir_prefix={tmp_path}/data", f"output.folder={tmp_path}"]

    def train(name: str, *more: str):
        return run("-m", "tf_deepcam", "train", *settings, f"output.run_name={name}", *more, **torch_path())

    assert train("whole", "training.max_epochs=3").returncode == 0  # 2 updates of 2 x 2 samples an epoch
    file = tmp_path / "model_step_8.cpt"
    exported = run("-m", "tf_deepcam", "export", tmp_path / "whole", "--to", file, "--step", "4", **torch_path())
    assert "as the reference's checkpoint of step 8, epoch 2" in exported.stdout
    resumes = [f"model.checkpoint={file}", "model.checkpoint_resumes=true"]
    second = train("second", "training.max_epochs=3", *resumes)
    assert second.returncode == 0, second.stdout
    assert f"continuing the reference's {file} with epoch 3, after update 4" in second.stdout
    one, two = (checkpoints.load(tmp_path / name / "checkpoints", 6) for name in ("whole", "second"))
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(two.arrays[name], array, err_msg=name)
    assert [record["epoch"] for record in records(tmp_path / "second", "epoch")] == [3]
    other = train("third", "training.max_epochs=3", *resumes, "training.local_batch_size=1")
    assert "2 epochs have 8 steps, so 2 updates per epoch; here they have 4" in errors(other.stdout)[0]
    assert not (tmp_path / "third").exists()
    assert yaml.safe_load((tmp_path / "second" / "config.yaml").read_text())["model"]["checkpoint_resumes"] is True
    read, _ = reference_checkpoint.load(str(file))
    assert read["optimizer"]["param_groups"][0]["step"] == 4
    assert read["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.003)  # update 6 is the first with 0.0003


def torch_path() -> dict:
    """For a process of its own, where this one's PyTorch lies beside the environment."""
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

"""Weights in files, with and without PyTorch."""

import numpy as np
import pytest

from common.errors import UserError
from tf_deepcam.network import deeplab as model
from tf_deepcam.network import weights


@pytest.fixture(scope="module")
def small():
    return model.deeplab(width=0.05, middle_blocks=1)


def assert_same(network, other) -> None:
    for ours, theirs in zip(network.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".cpt", ".pth"])
def test_a_file_goes_out_and_comes_back(tmp_path, small, suffix):
    pytest.importorskip({".npz": "numpy", ".safetensors": "safetensors"}.get(suffix, "torch"))
    path = tmp_path / f"model{suffix}"
    for _ in range(2):  # over an older one
        weights.save(small, path)
    other = model.deeplab(width=0.05, middle_blocks=1)
    weights.load(other, path)
    assert_same(other, small)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("wrap", [lambda state: {"model": state, "epoch": 3}, lambda state: state])
def test_the_reference_s_checkpoints_are_read(tmp_path, small, wrap):
    torch = pytest.importorskip("torch", reason="PyTorch is optional and not installed")
    state = {f"module.{name}": torch.from_numpy(array) for name, array in weights.to_arrays(small).items()}
    state["module.bn2.bn.num_batches_tracked"] = torch.tensor(7)
    torch.save(wrap(state), tmp_path / "model.cpt")
    other = model.deeplab(width=0.05, middle_blocks=1)
    weights.load(other, tmp_path / "model.cpt")
    assert_same(other, small)


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path, small):
    torch = pytest.importorskip("torch", reason="PyTorch is optional and not installed")
    torch.save({"model": {"x": print}}, tmp_path / "bad.cpt")
    with pytest.raises(UserError, match=r"bad\.cpt: is not a PyTorch checkpoint of plain tensors"):
        weights.load(small, tmp_path / "bad.cpt")


def test_files_that_cannot_be_used_are_named(tmp_path, small, monkeypatch):
    with pytest.raises(UserError, match=r"none\.npz: no such file"):
        weights.load(small, tmp_path / "none.npz")
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(UserError, match=r"torn\.npz: cannot be read as \.npz"):
        weights.load(small, tmp_path / "torn.npz")
    (tmp_path / "model.bin").touch()
    with pytest.raises(UserError, match=r"model\.bin: weights are read from \.npz, \.safetensors, \.cpt or \.pth"):
        weights.load(small, tmp_path / "model.bin")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "model.cpt").touch()
    with pytest.raises(UserError, match="needs the package torch, which is not installed: pip install torch"):
        weights.load(small, tmp_path / "model.cpt")

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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".npz", ".cpt"])
def test_weights_that_are_not_finite_are_refused_before_anything_is_changed(tmp_path, small, value, suffix):
    pytest.importorskip("numpy" if suffix == ".npz" else "torch")
    arrays = weights.to_arrays(small)
    name = next(name for name, array in arrays.items() if array.ndim == 4)
    bad = model.deeplab(width=0.05, middle_blocks=1)
    entry = next(entry for entry in weights.entries(bad) if entry.name == name)
    changed = entry.variable.numpy()
    changed.flat[1] = value
    entry.variable.assign(changed)
    weights.save(bad, tmp_path / f"model{suffix}")
    before = small.get_weights()
    with pytest.raises(UserError, match=rf"model{suffix}: 1 of the \d+ values of '{name}' are NaN or infinite"):
        weights.load(small, tmp_path / f"model{suffix}")
    np.testing.assert_array_equal(small.get_weights()[0], before[0])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".cpt"])
def test_two_arrays_of_one_shape_that_changed_places_are_noticed(tmp_path, small, suffix):
    """By a program that reads the file and writes all that it has read; without the checksums it is any other file."""
    pytest.importorskip({".npz": "numpy", ".safetensors": "safetensors"}.get(suffix, "torch"))
    path = tmp_path / f"model{suffix}"
    weights.save(small, path)
    first, second = _two_of_one_shape(small)
    if suffix == ".npz":
        content = dict(np.load(path))
        content[first], content[second] = content[second], content[first]
        np.savez(path, **content)
    elif suffix == ".safetensors":
        from safetensors import safe_open
        from safetensors.numpy import load_file, save_file

        content = load_file(path)
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
        content[first], content[second] = content[second], content[first]
        save_file(content, path, metadata)
    else:
        import torch

        content = torch.load(path)
        arrays = content["model"]
        arrays[first], arrays[second] = arrays[second], arrays[first]
        torch.save(content, path)
    with pytest.raises(UserError, match=r"array '.*' is not the one that was written under this name"):
        weights.load(small, path)
    if suffix == ".npz":
        np.savez(path, **{name: array for name, array in content.items() if name != weights.CHECKSUMS})
        weights.load(model.deeplab(width=0.05, middle_blocks=1), path)


def _two_of_one_shape(network) -> list:
    arrays = weights.to_arrays(network)
    for name, array in arrays.items():
        alike = [other for other in arrays if arrays[other].shape == array.shape and (arrays[other] != array).any()]
        if alike and array.ndim == 4:
            return [name, alike[0]]
    raise AssertionError("no two arrays of one shape")


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

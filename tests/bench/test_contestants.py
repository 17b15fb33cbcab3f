"""The rivals compute the same functions as ours, with as many weights; and contestants take turns."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from cloudmask.network.unet import unet
from tests.bench import rivals
from tests.bench.contestants import keras_unet
from tf_deepcam.network import weights
from tf_deepcam.network.deeplab import deeplab

DEEPCAM_WEIGHTS, UNET_WEIGHTS = 56_454_720, 1_948_609


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is optional and not installed")


def through(torch, module, x: np.ndarray) -> np.ndarray:
    """The module's output with channels last, as x has them."""
    with torch.no_grad():
        return module(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()


def fields(channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 32, 48, channels)).astype(np.float32)


@pytest.mark.parametrize("training", [False, True])
def test_pytorch_s_deeplab_is_ours(torch, training):
    from tests.bench.contestants.torch_deeplab import DeepLab

    ours, theirs = deeplab(width=0.05, middle_blocks=2), DeepLab(width=0.05, middle_blocks=2).train(training)
    rng = np.random.default_rng(1)
    drawn = {name: array + rng.uniform(0, 0.1, array.shape) for name, array in weights.to_arrays(ours).items()}
    weights.from_arrays(ours, drawn, "drawn")
    counters = {name: value for name, value in theirs.state_dict().items() if name.endswith("num_batches_tracked")}
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in drawn.items()} | counters)
    expected = ours(fields(16), training=training).numpy()
    np.testing.assert_allclose(through(torch, theirs, fields(16)), expected, atol=1e-4 * np.abs(expected).max())


def test_pytorch_s_deeplab_has_as_many_weights(torch):
    from tests.bench.contestants.torch_deeplab import DeepLab

    with torch.device("meta"):
        assert sum(weight.numel() for weight in DeepLab().parameters()) == DEEPCAM_WEIGHTS


def test_pytorch_s_unet_is_ours(torch):
    from tests.bench.contestants.torch_unet import UNet

    ours, theirs = unet(), UNet()
    given = [array.transpose(3, 2, 0, 1) if array.ndim == 4 else array for array in ours.get_weights()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), map(torch.from_numpy, given))))
    assert sum(weight.numel() for weight in theirs.parameters()) == ours.count_params() == UNET_WEIGHTS
    logits = through(torch, theirs, fields(9))
    np.testing.assert_allclose(tf.sigmoid(logits), ours(fields(9)).numpy(), atol=1e-5)


def test_keras_unet_is_ours():
    ours, theirs = unet(), keras_unet.unet()
    theirs.set_weights(ours.get_weights())
    assert theirs.count_params() == UNET_WEIGHTS
    np.testing.assert_allclose(theirs(fields(9)).numpy(), ours(fields(9)).numpy(), atol=1e-5)


def test_pytorch_s_losses_are_ours(torch):
    from cloudmask.task import objective
    from tests.bench.contestants.pytorch import cloud_loss, cyclone_loss
    from tf_deepcam.losses import weighted_cross_entropy

    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(1, 4, 4, 3)).astype(np.float32), rng.integers(0, 3, (1, 4, 4))
    theirs = cyclone_loss(torch.from_numpy(logits).permute(0, 3, 1, 2), torch.from_numpy(labels))
    assert float(theirs) == pytest.approx(float(weighted_cross_entropy(labels, logits)), rel=1e-5)
    logits, cloud = logits[..., :1], (labels[..., None] > 0).astype(np.float32)
    ours = objective((None, cloud, np.ones_like(cloud)), tf.sigmoid(logits))["loss"][0]
    assert float(cloud_loss(*map(torch.from_numpy, (logits, cloud)))) == pytest.approx(float(ours), rel=1e-5)


def test_the_fastest_form_is_taken(torch):
    import time

    from tests.bench.contestants.pytorch import fastest

    name, work = fastest({"slow": lambda: lambda: time.sleep(0.05), "quick": lambda: lambda: "done"})
    assert (name, work()) == ("quick", "done")


def test_without_pytorch_its_rows_say_why_they_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(rivals.importlib.util, "find_spec", lambda name: None)
    rivals.contest("deepcam", "forward", "float32")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["skipped"].startswith("PyTorch is not installed")


def test_a_contestant_that_cannot_start_is_named(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="contestant 'pytorch deepcam step float32' ended with exit code 1"):
        rivals.Contestant("pytorch", "deepcam", "step", "float32")

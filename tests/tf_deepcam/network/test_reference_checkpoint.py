"""The reference's whole checkpoint: moments, step and epoch out and back, and PyTorch's own optimizers on it."""

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.errors import UserError
from common.optim import optimizers
from common.optim.settings import ScheduleSettings
from tests.helpers import GOLDEN
from tf_deepcam.config import DeepcamOptimizerSettings
from tf_deepcam.network import deeplab, reference_checkpoint
from tf_deepcam.network.reference_checkpoint import Pace, Position

NAMES = ["Adam", "AdamW", "LAMB"]
SOURCE = Path("some.cpt")
RATE = 0.01


def small(seed: int) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(seed)
    return deeplab.deeplab(width=0.05, middle_blocks=1)


def chosen(name: str) -> DeepcamOptimizerSettings:
    return DeepcamOptimizerSettings(optimizer=name, start_lr=RATE, eps=1e-7, weight_decay=0.1, max_grad_norm=0)


def built(network: tf.keras.Model, name: str, scale_loss: bool = False):
    optimizer = optimizers.build(chosen(name), ScheduleSettings(), scale_loss=scale_loss)
    getattr(optimizer, "inner_optimizer", optimizer).build(network.trainable_variables)
    return optimizer


def gradients(network: tf.keras.Model, update: int) -> dict:
    """Known ones in PyTorch's order, {reference's name: array}."""
    rng = np.random.default_rng([7, update])
    entries = reference_checkpoint.parameters(network)
    return {entry.name: rng.standard_normal(entry.shape).astype(np.float32) for entry in entries}


def update(network: tf.keras.Model, optimizer, number: int) -> None:
    given = gradients(network, number)
    pairs = [
        (entry.from_torch(given[entry.name]), entry.variable) for entry in reference_checkpoint.parameters(network)
    ]
    optimizer.apply_gradients([(tf.constant(gradient), variable) for gradient, variable in pairs])


@functools.cache
def trained(name: str) -> tuple:
    """A network after three updates, its optimizer, and its checkpoint; tests leave them as they are."""
    network = small(1)
    optimizer = built(network, name)
    for number in range(3):
        update(network, optimizer, number)
    position = Position(step=6, epoch=3, updates=3)
    return network, optimizer, reference_checkpoint.to_reference(network, optimizer, chosen(name), position, RATE)


@pytest.fixture(scope="module", params=NAMES)
def each(request):
    return request.param, *trained(request.param)


@pytest.fixture(scope="module")
def adam():
    return trained("Adam")


@pytest.fixture(scope="module")
def other():
    """Another network, in which checkpoints are read one after another."""
    return small(2)


def test_parameters_have_the_reference_s_order():
    names = [entry.name for entry in reference_checkpoint.parameters(deeplab.deeplab())]
    assert names == [str(name) for name in np.load(GOLDEN / "deepcam_seed2018.npz")["param_names"]]


def test_a_checkpoint_goes_out_and_comes_back_bit_for_bit(each, other):
    name, network, optimizer, found = each
    resumed = built(other, name)
    position = reference_checkpoint.from_reference(found, other, resumed, chosen(name), SOURCE)
    assert position == Position(step=6, epoch=3, updates=3)
    assert int(resumed.iterations) == 3
    for ours, theirs in zip(other.variables, network.variables):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(other.trainable_variables, network.trainable_variables):
        np.testing.assert_array_equal(resumed.moments(ours), optimizer.moments(theirs))


def test_moments_are_the_gradients_by_the_reference_s_number_and_axes(other):
    """After one update from nothing exp_avg is (1 - beta_1) g."""
    optimizer = built(other, "AdamW")
    update(other, optimizer, 0)
    found = reference_checkpoint.to_reference(other, optimizer, chosen("AdamW"), Position(1, 1, 1), RATE)
    for number, gradient in enumerate(gradients(other, 0).values()):
        state = found["optimizer"]["state"][number]
        np.testing.assert_allclose(state["exp_avg"], 0.1 * gradient, rtol=1e-5)
        np.testing.assert_allclose(state["exp_avg_sq"], 0.001 * gradient**2, rtol=1e-4)
        assert state["step"] == 1


def test_the_optimizer_s_state_has_the_keys_of_its_kind(each):
    name, _, _, found = each
    state, (group,) = found["optimizer"]["state"], found["optimizer"]["param_groups"]
    moments = {"exp_avg", "exp_avg_sq"}
    assert set(state[0]) == (moments if name == "LAMB" else {"step", *moments})
    assert group["params"] == list(state) == list(range(len(state)))
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (RATE, (0.9, 0.999), 1e-7, 0.1)
    assert group.get("step") == (3 if name == "LAMB" else None)
    assert group.get("decoupled_weight_decay") == {"Adam": False, "AdamW": True, "LAMB": None}[name]


def test_the_loader_s_names_are_bare_and_batch_norms_count_batches(adam):
    model = adam[2]["model"]
    assert not any(name.startswith("module.") for name in model)
    counters = {name: value for name, value in model.items() if name.endswith("num_batches_tracked")}
    assert len(counters) == sum(name.endswith("running_var") for name in model)
    assert {(value.dtype, int(value)) for value in counters.values()} == {(np.dtype(np.int64), 6)}


def test_loss_scaling_does_not_hide_the_optimizer(adam, other):
    resumed = built(other, "Adam", scale_loss=True)
    reference_checkpoint.from_reference(adam[2], other, resumed, chosen("Adam"), SOURCE)
    first = other.trainable_variables[0]
    np.testing.assert_array_equal(
        resumed.inner_optimizer.moments(first)[0], adam[1].moments(adam[0].trainable_variables[0])[0]
    )
    assert int(resumed.iterations) == 3


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_pytorch_s_optimizer_and_ours_go_on_from_our_file_alike(tmp_path, other, name):
    torch = pytest.importorskip("torch", reason="PyTorch is optional and not installed")
    reference_checkpoint.save(trained(name)[2], tmp_path / "our.cpt")
    read, path = reference_checkpoint.load(str(tmp_path / "our.cpt"))
    ours = built(other, name)
    reference_checkpoint.from_reference(read, other, ours, chosen(name), path)
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    entries = reference_checkpoint.parameters(other)
    weights = torch.nn.ParameterList(loaded["model"][entry.name] for entry in entries)
    # The file's values replace these.
    theirs = getattr(torch.optim, name)(weights.parameters(), lr=1.0, betas=(0.5, 0.5), eps=1e-3, weight_decay=0.5)
    theirs.load_state_dict(loaded["optimizer"])
    for number in (3, 4):
        update(other, ours, number)
        torch_update(torch, weights, theirs, gradients(other, number))
    assert_alike(entries, weights)


def test_ours_goes_on_from_a_file_of_pytorch_s_adamw(tmp_path, other):
    """As the reference writes it: wrapped names, the step of each parameter as a tensor."""
    torch = pytest.importorskip("torch", reason="PyTorch is optional and not installed")
    entries = reference_checkpoint.parameters(other)
    state = reference_checkpoint.to_reference(other, built(other, "AdamW"), chosen("AdamW"), Position(2, 1, 2), RATE)
    wrapped = {f"module.{key}": torch.from_numpy(value) for key, value in state["model"].items()}
    weights = torch.nn.ParameterList(wrapped[f"module.{entry.name}"].clone() for entry in entries)
    theirs = torch.optim.AdamW(weights.parameters(), lr=RATE, eps=1e-7, weight_decay=0.1)
    for number in (0, 1):
        torch_update(torch, weights, theirs, gradients(other, number))
    wrapped |= {f"module.{entry.name}": weight.detach() for entry, weight in zip(entries, weights)}
    file = {"step": 2, "epoch": 1, "model": wrapped, "optimizer": theirs.state_dict()}
    torch.save(file, tmp_path / "their.cpt")
    ours = built(other, "AdamW")
    read, path = reference_checkpoint.load(str(tmp_path / "their.cpt"))
    assert reference_checkpoint.from_reference(read, other, ours, chosen("AdamW"), path) == Position(2, 1, 2)
    assert_alike(entries, weights)
    update(other, ours, 2)
    torch_update(torch, weights, theirs, gradients(other, 2))
    assert_alike(entries, weights)


def torch_update(torch, weights, optimizer, given: dict) -> None:
    for weight, gradient in zip(weights, given.values()):
        weight.grad = torch.from_numpy(gradient)
    optimizer.step()


def assert_alike(entries: list, weights) -> None:
    for entry, weight in zip(entries, weights):
        ours = entry.to_torch(entry.variable.numpy())
        np.testing.assert_allclose(ours, weight.detach().numpy(), rtol=1e-5, atol=1e-6, err_msg=entry.name)


def test_a_file_with_pytorch_comes_back_and_is_not_written_over(tmp_path, each, other):
    pytest.importorskip("torch", reason="PyTorch is optional and not installed")
    name, network, _, found = each
    reference_checkpoint.save(found, tmp_path / "a.cpt")
    read, path = reference_checkpoint.load(str(tmp_path / "a.cpt"))
    assert read["optimizer"]["param_groups"] == found["optimizer"]["param_groups"]
    reference_checkpoint.from_reference(read, other, built(other, name), chosen(name), path)
    np.testing.assert_array_equal(other.trainable_variables[5], network.trainable_variables[5])
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"a\.cpt: exists already and is left as it is"):
        reference_checkpoint.save(found, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.cpt"]


def _drop(key):
    return lambda found: found.pop(key)


def _optimizer(change):
    return lambda found: change(found["optimizer"])


def _group(**values):
    return lambda found: found["optimizer"]["param_groups"][0].update(values)


REFUSED = [
    (_drop("optimizer"), r"some\.cpt: holds no 'optimizer'.*checkpoint_resumes=false starts from its weights alone"),
    (_drop("epoch"), "holds no 'epoch'"),
    (lambda found: found.update(model=[1]), "its 'model' is not a state dict"),
    (lambda found: found.update(epoch="three"), "epoch is not a number"),
    (lambda found: found.update(step=0), "step is 0, a whole number from 1 on expected"),
    (_optimizer(lambda state: state.update(param_groups=[])), "not a state dict of one group"),
    (_group(params="all"), "names no parameters"),
    (_group(params=[0, 1]), r"its optimizer has 2 parameters, \d+ expected"),
    (_group(grad_averaging=True), "saved with LAMB, optimizer.optimizer is Adam; set optimizer.optimizer=LAMB"),
    (_group(decoupled_weight_decay=True), "saved with AdamW, optimizer.optimizer is Adam"),
    (_group(betas=(0.9, 0.99)), r"saved with betas \(0.9, 0.99\), optimizer.optimizer_betas is \(0.9, 0.999\)"),
    (_group(weight_decay=None), "saved with weight_decay None, optimizer.weight_decay is 0.1: set the same"),
    (_optimizer(lambda o: o["state"].pop(1)), "holds no exp_avg of 'xception_features.bn1.bn.weight'"),
    (_optimizer(lambda o: o["state"][0].pop("step")), "the optimizer's step is not a number"),
    (_optimizer(lambda o: o["state"][0].update(step=9)), "2 different step counts"),
    (
        _optimizer(lambda o: o["state"][0].update(exp_avg=np.zeros((3, 3, 16, 8), np.float32))),
        r"exp_avg of 'xception_features.conv1.weight' has shape \(3, 3, 16, 8\), \(8, 16, 3, 3\) expected",
    ),
    (lambda found: found["model"].pop("bn2.bn.bias"), "array 'bn2.bn.bias' .* is missing"),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_not_of_this_network_and_optimizer_is_refused_before_anything_changes(adam, spoil, message):
    network, optimizer, found = adam
    spoilt = copy.deepcopy(found)
    spoil(spoilt)
    before = [variable.numpy() for variable in (*network.variables, *optimizer.variables)]
    with pytest.raises(UserError, match=message):
        reference_checkpoint.from_reference(spoilt, network, optimizer, chosen("Adam"), SOURCE)
    for ours, theirs in zip((*network.variables, *optimizer.variables), before):
        np.testing.assert_array_equal(ours, theirs)


def test_adam_and_adamw_are_alike_in_files_before_pytorch_2_6(adam, other):
    found = copy.deepcopy(adam[2])
    del found["optimizer"]["param_groups"][0]["decoupled_weight_decay"]
    reference_checkpoint.from_reference(found, other, built(other, "AdamW"), chosen("AdamW"), SOURCE)
    with pytest.raises(UserError, match=r"saved with Adam or AdamW, optimizer.optimizer is LAMB"):
        reference_checkpoint.from_reference(found, other, built(other, "LAMB"), chosen("LAMB"), SOURCE)


def test_training_goes_on_at_an_epoch_s_beginning():
    assert reference_checkpoint.updates_done(Position(30, 3, 15), Pace(2, 5, 9), SOURCE) == 15
    # Loss scaling: one update had infinite gradients, and the optimizer did not count it.
    assert reference_checkpoint.updates_done(Position(30, 3, 14), Pace(2, 5, 9), SOURCE) == 15
    with pytest.raises(UserError, match=r"15 updates in 30 steps are 2 .*gradient_accumulation_frequency=2, found 1"):
        reference_checkpoint.updates_done(Position(30, 3, 15), Pace(1, 5, 9), SOURCE)
    with pytest.raises(UserError, match=r"3 epochs have 30 steps, so 10 updates per epoch; here they have 7: use"):
        reference_checkpoint.updates_done(Position(30, 3, 30), Pace(1, 7, 9), SOURCE)
    with pytest.raises(UserError, match=r"is of epoch 3, training\.max_epochs is 3: nothing is left"):
        reference_checkpoint.updates_done(Position(30, 3, 30), Pace(1, 10, 3), SOURCE)

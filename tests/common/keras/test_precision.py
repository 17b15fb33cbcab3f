"""Precision and TF32 by what the GPUs can do; the GPUs are made up."""

import subprocess
from types import SimpleNamespace

import pytest
import tensorflow as tf

from common.errors import UserError
from common.keras import precision
from tests.helpers import ROOT, command, environment, errors


def settings(name: str = "float32") -> SimpleNamespace:
    return SimpleNamespace(precision=name)


@pytest.fixture
def a_gpu(monkeypatch):
    """Call it with a compute capability."""

    def make(*capability: int) -> None:
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["gpu"])
        details = {"compute_capability": capability}
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)

    yield make
    tf.keras.mixed_precision.set_global_policy("float32")
    tf.config.experimental.enable_tensor_float_32_execution(False)


def test_bfloat16_is_refused_before_compute_capability_8(a_gpu):
    a_gpu(7, 0)
    message = (
        r"inference.precision is mixed_bfloat16, .* capability 7.0 do not support .*"
        "set inference.precision=mixed_float16"
    )
    with pytest.raises(UserError, match=message) as caught:
        precision.apply("inference", settings("mixed_bfloat16"))
    assert caught.value.on_all_ranks
    precision.apply("training", settings("mixed_float16"))
    a_gpu(8, 0)
    precision.apply("training", settings("mixed_bfloat16"))
    assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"


def test_on_cpus_nothing_is_refused():
    assert precision.refused("training", "mixed_bfloat16", []) is None


@pytest.mark.parametrize(("name", "tf32"), [("tf32", True), ("float32", False)])
def test_tf32_is_what_the_setting_says(a_gpu, name, tf32, capsys):
    a_gpu(9, 0)
    precision.apply("training", settings(name))
    assert tf.config.experimental.tensor_float_32_execution_enabled() is tf32
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    assert ("training.precision=tf32" in capsys.readouterr().out) is not tf32


def test_the_hint_is_for_gpus_that_have_tf32():
    assert precision.idle_cores("training", settings(), [(7, 5)]) is None
    assert precision.idle_cores("training", settings("mixed_float16"), [(8, 0)]) is None


def test_in_words():
    assert precision.in_words(settings("tf32")) == "float32 with TF32"


UNEQUAL = """
import tensorflow as tf
from types import SimpleNamespace
from common import distributed
from common.cli.program import run_program
from common.keras import precision
def main():
    distributed.init()
    tf.config.get_visible_devices = lambda kind: ["gpu"]
    tf.config.experimental.get_device_details = lambda gpu: {"compute_capability": (8 - distributed.rank(), 0)}
    precision.apply("training", SimpleNamespace(precision="mixed_bfloat16"))
    return 0
run_program(main)
"""


@pytest.mark.slow
def test_one_old_gpu_stops_both_ranks_with_one_line():
    done = subprocess.run(
        command("-c", UNEQUAL, ranks=2), env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    (line,) = errors(done.stderr)
    assert "compute capability 7.0" in line

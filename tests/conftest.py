"""For all tests: where there is a GPU, float32 is float32, as on the CPU that known answers were computed on."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _without_tf32():
    """TensorFlow's own default is on; the programs have it off but for precision: tf32."""
    if "tensorflow" in sys.modules:  # those that do not need it are not made to wait for it
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)

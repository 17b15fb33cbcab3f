"""For all tests: where there is a GPU, float32 is float32, as on the CPU that known answers were computed on."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _without_tf32():
    """TensorFlow's own default is on; the programs set it by training.tf32 and inference.tf32, also off by default."""
    if "tensorflow" in sys.modules:  # those that do not need it are not made to wait for it
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)

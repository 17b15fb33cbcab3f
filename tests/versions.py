"""Where tests must know TensorFlow's version: docs/install.md says what was run on which."""

import pytest
import tensorflow as tf

ON_2_12 = tf.__version__.startswith("2.12.")
OWN_KERAS_FILES = pytest.mark.skipif(
    ON_2_12, reason="Keras 2.12 cannot build what it has saved itself (ReLU); programs take a file's arrays only"
)

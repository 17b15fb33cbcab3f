"""Where tests must know TensorFlow's version: docs/install.md says what was run on which."""

import pytest
import tensorflow as tf

VERSION = tuple(map(int, tf.__version__.split(".")[:2]))
ON_2_12 = VERSION == (2, 12)
KERAS_3 = VERSION >= (2, 16)  # TensorFlow's own; tf.keras is tf_keras there, as the programs have it
OWN_KERAS_FILES = pytest.mark.skipif(
    ON_2_12, reason="Keras 2.12 cannot build what it has saved itself (ReLU); programs take a file's arrays only"
)

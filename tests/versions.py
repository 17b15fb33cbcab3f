"""Where tests must know TensorFlow's version: docs/install.md says what was run on which."""

import tensorflow as tf

ON_2_12 = tf.__version__.startswith("2.12.")

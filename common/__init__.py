"""What both benchmarks share, and nothing that knows either: config, ranks, data flow, training loop, logs, report."""

import os

# TensorFlow's C++ start-up messages (missing CUDA libraries, plugins registered twice) are no news to users;
# it reads this once, at import. Set TF_CPP_MIN_LOG_LEVEL=0 to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

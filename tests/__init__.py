"""Tests, mirroring the packages; distributed/ starts two real processes, bench/ is run by `make bench`."""

import common  # noqa: F401  (quietens TensorFlow before anything imports it)

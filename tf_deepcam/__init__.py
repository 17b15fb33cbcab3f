"""DeepCAM (MLPerf HPC): tropical cyclones and atmospheric rivers in CAM5 climate fields, with DeepLabv3+."""

import common  # noqa: F401  (quiets TensorFlow before anything imports it)

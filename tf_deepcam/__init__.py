"""DeepCAM (MLPerf HPC): tropical cyclones and atmospheric rivers in CAM5 climate fields, with DeepLabv3+."""

from common import __version__ as __version__  # `common` quiets TensorFlow before anything imports it

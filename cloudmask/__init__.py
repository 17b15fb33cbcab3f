"""CloudMask (MLCommons Science): cloud or clear sky for every pixel of Sentinel-3 SLSTR scenes, with a U-Net."""

import common  # noqa: F401  (quietens TensorFlow before anything imports it)

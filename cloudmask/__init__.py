"""CloudMask (MLCommons Science): cloud or clear sky for every pixel of Sentinel-3 SLSTR scenes, with a U-Net."""

from common import __version__ as __version__  # `common` quiets TensorFlow before anything imports it

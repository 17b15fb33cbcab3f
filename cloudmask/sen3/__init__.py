"""Sentinel-3 SLSTR level 1 products: reading them, and making scenes of them."""

from typing import Literal

Conversion = Literal["dataset", "physical"]

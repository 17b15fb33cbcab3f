"""Sentinel-3 SLSTR level 1 products: reading them, and making scenes of them."""

from typing import Literal

Conversion = Literal["dataset", "dataset_last_row", "physical"]
NIGHT_DEGREES = 90.0  # zenith angle of the sun from which on there is none

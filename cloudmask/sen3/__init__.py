"""Sentinel-3 SLSTR level 1 products: reading them, and making scenes of them."""

from typing import Literal, Union

Conversion = Literal["dataset", "dataset_last_row", "physical"]
# Detectors whose S4 to S6 are taken: these channels are measured twice, by two rows of detectors.
Stripe = Literal["a", "b"]
# Factors on the radiances S1 to S6.
Calibration = Union[Literal["notice", "none"], tuple[float, float, float, float, float, float]]
NIGHT_DEGREES = 90.0  # zenith angle of the sun from which on there is none

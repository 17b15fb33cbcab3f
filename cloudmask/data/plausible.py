"""Whether a scene's numbers can be what they are taken for, judged by a few of them while it is read.

A scene in other units gives no error by itself: reflectances in percent and temperatures in Celsius lie outside of the
ranges of data.reflectance_range and data.temperature_range_kelvin, so all of them would be missing. What cannot be is
refused; what can hardly be is said once. The bounds have room on both sides of what was measured
(docs/reference/cloudmask.md): the brightest channel's median was at most 0.5 in real and synthetic scenes, 1.6 in
made-up products whose numbers follow no physics, and 20 or more in percent.
"""

from typing import Optional

import numpy as np

from cloudmask.config import DataSettings
from cloudmask.data.normalize import REFLECTANCES, TEMPERATURES
from common.data.doubts import warn_once
from common.errors import UserError

_EVERY_COLUMN = 16  # of which one is looked at, in one row of each block
_BRIGHT = 2.0  # median reflectance of a whole scene, in the channel where it is highest, that can hardly be
_CELSIUS = 100.0  # temperatures on Earth are less than this from 0 degrees Celsius, and more from 0 K
_ROUNDING = 1e-3  # of labels between 0 and 255
_NO_LABEL = 255  # in every pixel where the Bayesian module did not run (cloudmask.sen3.product)


class Plausible:
    """What was seen of one scene."""

    def __init__(self, settings: DataSettings):
        self._settings = settings
        self._reflectances: list[np.ndarray] = []
        self._temperatures: list[np.ndarray] = []
        self._lowest, self._highest = np.inf, -np.inf  # label
        self._fraction: Optional[float] = None

    def see(self, reflectances: np.ndarray, temperatures: np.ndarray) -> None:
        """Keep a few pixels of a block of rows, [rows, width, 6] and [rows, width, 3], before they are normalised."""
        with np.errstate(over="ignore"):  # of damaged files: what is too large becomes infinite
            self._reflectances.append(reflectances[0, ::_EVERY_COLUMN].astype(np.float32))
            self._temperatures.append(temperatures[0, ::_EVERY_COLUMN].astype(np.float32))

    def see_labels(self, labels: np.ndarray, where: str) -> None:
        """Raises UserError for a block of labels, [rows, width, 1], that no flags can be."""
        low, high = labels.min(), labels.max()  # NaN if any is
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UserError(f"{where} holds NaN or infinite labels")
        if low < -_ROUNDING:
            raise UserError(f"{where} holds {low:g}: labels are 0, clear, and above 0, cloud; write them so")
        self._lowest, self._highest = min(self._lowest, low), max(self._highest, high)
        if self._fraction is None and 0 < high <= 1 and labels.dtype.kind == "f":
            between = (labels > _ROUNDING) & (labels < 1 - _ROUNDING)
            self._fraction = float(labels[between][0]) if between.any() else None

    def check(self, reflectances: str, temperatures: str, labels: str) -> None:
        """Judge the scene when all of its rows have been seen; the names of its datasets are for messages.

        Raises:
            UserError: for numbers that cannot be.
        """
        if self._temperatures:
            self._check_temperatures(temperatures)
            self._check_reflectances(reflectances)
        # Flags on another number of rows are interpolated, so that there are numbers between 0 and 255, too.
        if self._fraction is not None and self._highest <= 1:
            raise UserError(
                f"{labels} holds fractions such as {self._fraction:g}, of which each above 0 would be cloud: write 0 "
                "or 1 instead"
            )
        if self._lowest == self._highest == _NO_LABEL and self._settings.labels == "bayes":
            warn_once(
                "no label",
                f"{labels} is {_NO_LABEL} in every pixel, which is how products without a Bayesian mask look, and "
                "counts as cloud: choose others (data.labels), or leave the scene out",
            )

    def _check_temperatures(self, where: str) -> None:
        values = np.concatenate(self._temperatures).reshape(-1, TEMPERATURES)
        values = values[np.isfinite(values) & (values != 0)]
        low, high = self._settings.temperature_range_kelvin
        outside = values[(values < low) | (values > high)]
        if 2 * outside.size <= values.size or not values.size:
            return
        first, middle, last = (float(np.percentile(outside, share)) for share in (10, 50, 90))
        if first == last:
            return  # a fill value, not measurements
        unit = "degrees Celsius, as it seems; " if abs(first) < _CELSIUS and abs(last) < _CELSIUS else ""
        raise UserError(
            f"{where} holds {unit}{first:.4g} to {last:.4g} (median {middle:.4g}): kelvin expected, within "
            f"data.temperature_range_kelvin, {low:g} to {high:g}"
        )

    def _check_reflectances(self, where: str) -> None:
        values = np.concatenate(self._reflectances).reshape(-1, REFLECTANCES)
        known = np.isfinite(values) & (values != 0)
        bright = 2 * np.count_nonzero(known & (values > _BRIGHT), 0) > np.count_nonzero(known, 0)
        if not bright.any():
            return
        brightest = max(float(np.median(values[known[:, band], band])) for band in np.flatnonzero(bright))
        limit = max(self._settings.reflectance_range[1], _BRIGHT)
        if brightest > limit:
            raise UserError(
                f"{where} has a median of {brightest:.4g}: no reflectances, which are from 0 to little more than 1 (in "
                f"percent? divide by 100); what is above {limit:g} would be taken as missing (data.reflectance_range)"
            )
        warn_once(
            "bright",
            f"{where} has a median of {brightest:.4g}: a scene of reflectances is hardly so bright; are they in "
            "percent, or scaled?",
        )

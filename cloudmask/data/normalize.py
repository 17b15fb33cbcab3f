"""The arithmetic on a scene's pixels, in one compiled pass over them; as array operations it is some twenty."""

import numpy as np

from cloudmask.compiled import compiled

REFLECTANCES = 6
TEMPERATURES = 3
_REFLECTANCE_MIDDLE, _KELVIN_MIDDLE = 0.5, 270.0
KELVIN_SCALE = 22.0  # kelvin in a normalised unit of temperature


def reflectance_of(normalised):
    """What a number or array of the image's first six channels was before."""
    return normalised + _REFLECTANCE_MIDDLE


def kelvin_of(normalised):
    """What a number or array of its other channels was before."""
    return normalised * KELVIN_SCALE + _KELVIN_MIDDLE


@compiled
def normalize(
    reflectances: np.ndarray,
    temperatures: np.ndarray,
    left: int,
    as_it_comes: bool,
    ranges: tuple,
    image: np.ndarray,
    measured: np.ndarray,
) -> bool:
    """Fill `image` and `measured` from a block of rows; False if values taken as they come are not finite.

    reflectances: [rows, width, 6], temperatures: [rows, width, 3] kelvin, float32 or float64; columns from `left` on.
    image: [rows, parts, columns, 9] float32, the columns in any number of parts.
    measured: [rows, parts, columns] uint8, 1 where any temperature is within its range.
    ranges: the closed ones of reflectances and of temperatures, ((low, high), (low, high)).
    as_it_comes: the reference's way. Else what is NaN or outside its range becomes 0, and all six reflectances
    where each of them is exactly 0.
    """
    rows, parts, columns = measured.shape
    dimmest, brightest = np.float32(ranges[0][0]), np.float32(ranges[0][1])
    coldest, hottest = np.float32(ranges[1][0]), np.float32(ranges[1][1])
    zero, strange = np.float32(0.0), np.float32(0.0)
    for row in range(rows):
        for part in range(parts):
            first = left + part * columns
            for column in range(columns):
                pixel, kelvin = image[row, part, column], temperatures[row, first + column]
                any_known = np.bool_(False)
                for channel in range(TEMPERATURES):
                    value = np.float32(kelvin[channel])
                    known = coldest <= value <= hottest
                    any_known |= known
                    normal = (value - np.float32(_KELVIN_MIDDLE)) / np.float32(KELVIN_SCALE)
                    strange += normal - normal  # 0, but NaN for what is not finite
                    pixel[REFLECTANCES + channel] = normal if known or as_it_comes else zero
                measured[row, part, column] = any_known
                light = reflectances[row, first + column]
                any_light = np.bool_(as_it_comes)
                for channel in range(REFLECTANCES):
                    any_light |= light[channel] != 0.0
                for channel in range(REFLECTANCES):
                    value = np.float32(light[channel])
                    known = any_light and dimmest <= value <= brightest
                    normal = value - np.float32(_REFLECTANCE_MIDDLE)
                    strange += normal - normal
                    pixel[channel] = normal if known or as_it_comes else zero
    return not as_it_comes or strange == zero

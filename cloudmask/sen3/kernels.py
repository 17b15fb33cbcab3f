"""Radiances to reflectances on the 1 km grid, in one compiled pass over a band's pixels as they are packed."""

import numpy as np

from cloudmask.compiled import compiled


@compiled
def evaluate(
    coefficients: np.ndarray,
    first_rows: np.ndarray,
    row_weights: np.ndarray,
    first_columns: np.ndarray,
    column_weights: np.ndarray,
    values: np.ndarray,
) -> None:
    """Fill `values` [H, W] with a bicubic spline's: at each row and column the first of four coefficients, [H] and [W],
    and their weights, [H, 4] and [W, 4]."""
    line = np.empty(coefficients.shape[1])
    for row in range(values.shape[0]):
        first = first_rows[row]
        for column in range(line.size):
            line[column] = 0.0
            for tap in range(4):
                line[column] += row_weights[row, tap] * coefficients[first + tap, column]
        for column in range(values.shape[1]):
            left, value = first_columns[column], 0.0
            for tap in range(4):
                value += column_weights[column, tap] * line[left + tap]
            values[row, column] = value


@compiled
def invert_cosine(zenith: np.ndarray, radians: float, night: float, by_night: float, inverse: np.ndarray) -> None:
    """1 / cos(zenith) where zenith < night, else `by_night`; arrays [rows, columns]. radians: a degree in them."""
    for row in range(zenith.shape[0]):
        for column in range(zenith.shape[1]):
            angle = zenith[row, column]
            inverse[row, column] = 1.0 / np.cos(angle * radians) if angle < night else by_night


@compiled
def halve(
    counts: np.ndarray,
    packing: tuple,
    gain: float,
    inverse_sun: np.ndarray,
    weights: tuple,
    refs: np.ndarray,
    rads: np.ndarray,
) -> None:
    """Fill `refs`, and `rads` unless it is empty, with a band anti-aliased onto half of its rows and columns.

    counts: [2 H, 2 W], packed. packing: scale, offset and the number of no data, which becomes 0. gain: pi over the
    sun's irradiance. inverse_sun: [2 H, 2 W], 1 / cos(zenith), of the arithmetic's type. weights: of the outer, middle
    and inner of six rows or columns, mirrored at the edges. refs: [H, W].
    """
    scale, offset, fill = packing
    outer, middle, inner = weights
    rows, columns = counts.shape
    both = rads.size > 0
    # The last six rows of each, row s at s modulo 6.
    light, radiance = np.empty((6, columns), inverse_sun.dtype), np.empty((6, columns), inverse_sun.dtype)
    line = np.empty(columns + 4, inverse_sun.dtype)
    for row in range(refs.shape[0]):
        for source in range(2 * row + 2 if row else -2, 2 * row + 4):
            mirrored = abs(source) if source < rows else 2 * rows - 2 - source
            slot = (source + 6) % 6
            for column in range(columns):
                count = counts[mirrored, column]
                value = 0.0 if count == fill or count != count else count * scale + offset
                radiance[slot, column] = value
                light[slot, column] = value * gain * inverse_sun[mirrored, column]
        _halve_row(light, row, outer, middle, inner, line, refs)
        if both:
            _halve_row(radiance, row, outer, middle, inner, line, rads)


@compiled
def _halve_row(
    lines: np.ndarray, row: int, outer: float, middle: float, inner: float, line: np.ndarray, out: np.ndarray
) -> None:
    """One row of `out` from rows 2 row - 2 to 2 row + 3, which `lines` has at their numbers modulo 6."""
    columns, first = lines.shape[1], 2 * row + 4
    a, b, c = lines[first % 6], lines[(first + 1) % 6], lines[(first + 2) % 6]
    d, e, f = lines[(first + 3) % 6], lines[(first + 4) % 6], lines[(first + 5) % 6]
    for column in range(columns):
        line[column + 2] = (
            inner * (c[column] + d[column]) + middle * (b[column] + e[column]) + outer * (a[column] + f[column])
        )
    line[0], line[1] = line[4], line[3]
    line[columns + 2], line[columns + 3] = line[columns], line[columns - 1]
    for column in range(out.shape[1]):
        left = 2 * column
        out[row, column] = (
            inner * (line[left + 2] + line[left + 3])
            + middle * (line[left + 1] + line[left + 4])
            + outer * (line[left] + line[left + 5])
        )


@compiled
def average(
    counts: np.ndarray,
    packing: tuple,
    gains: np.ndarray,
    detectors: np.ndarray,
    exceptions: np.ndarray,
    refused: int,
    inverse_sun: np.ndarray,
    corner: tuple,
    refs: np.ndarray,
    rads: np.ndarray,
) -> None:
    """Fill `refs`, and `rads` unless it is empty, with the mean of those of 2 x 2 pixels that were measured, NaN where
    none was.

    counts: [h, w], packed. packing: scale, offset, the number of no data, and a factor on the radiance. gains: pi over
    the irradiance by detector, [256], NaN of what is none. detectors: [h, w] uint8. exceptions: [h, w] flags, or empty;
    a pixel with any of the bits `refused` is no measurement. inverse_sun: [h, w], NaN by night. corner: row and column
    of the pixel over the first one of refs [H, W], which may lie outside.
    """
    scale, offset, fill, factor = packing
    rows, columns = counts.shape
    both, flagged = rads.size > 0, exceptions.size > 0
    for row in range(refs.shape[0]):
        for column in range(refs.shape[1]):
            light, radiance, lit, seen = 0.0, 0.0, 0, 0
            for part in range(4):
                y, x = 2 * row + corner[0] + part // 2, 2 * column + corner[1] + part % 2
                if y < 0 or x < 0 or y >= rows or x >= columns:
                    continue
                count = counts[y, x]
                if count == fill or count != count or (flagged and exceptions[y, x] & refused):
                    continue
                value = (count * scale + offset) * factor
                radiance += value
                seen += 1
                reflectance = value * gains[detectors[y, x]] * inverse_sun[y, x]
                if np.isfinite(reflectance):
                    light += reflectance
                    lit += 1
            refs[row, column] = light / lit if lit else np.nan
            if both:
                rads[row, column] = radiance / seen if seen else np.nan

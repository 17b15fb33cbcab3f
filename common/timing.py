"""Times of repeated work as people compare them: median, percentiles, warm-up left out."""

import time
from typing import Callable

import numpy as np


def summary(seconds: list) -> dict:
    """Mean, median, p95, shortest, longest and total of a list of durations in seconds; NaN for an empty list."""
    values = np.asarray(seconds if len(seconds) else [np.nan], np.float64)
    return {
        "count": len(seconds),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "min": float(values.min()),
        "max": float(values.max()),
        "total": float(values.sum()) if len(seconds) else 0.0,
    }


def repeat(work: Callable[[], object], times: int = 5, warmup: int = 2) -> list:
    """Durations of `times` calls of `work`, in seconds, after `warmup` calls that are not counted."""
    durations = []
    for call in range(warmup + times):
        started = time.perf_counter()
        work()
        if call >= warmup:
            durations.append(time.perf_counter() - started)
    return durations

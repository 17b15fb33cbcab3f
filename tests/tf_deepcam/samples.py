"""Tiny samples in the real format, and the settings that fit them."""

from pathlib import Path

import numpy as np

from tests.helpers import write_hdf

HEIGHT, WIDTH = 32, 48
TINY = [
    "model.width=0.05",
    "model.middle_blocks=1",
    "training.local_batch_size=2",
    "training.target_iou=0",
    "pictures=1",
    "optimizer.start_lr=0.01",
]


def sample_arrays(seed: int, height: int = HEIGHT, width: int = WIDTH) -> dict:
    """Fields and labels: class 2 where channel 0 is high, class 1 where channel 8 is low."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(50.0, 10.0, (height, width, 16)).astype(np.float32)
    labels = np.where(fields[..., 8] < 35, 1, np.where(fields[..., 0] > 60, 2, 0))
    return {"climate/data": fields, "climate/labels_0": labels.astype(np.int64)}


def write_stats(root: Path, low: float = 0.0, high: float = 100.0) -> Path:
    values = {"climate/minval": np.full(16, low, np.float32), "climate/maxval": np.full(16, high, np.float32)}
    return write_hdf(root / "stats.h5", values)


def write_samples(root: Path, train: int = 6, validation: int = 3) -> None:
    """train/, validation/ and stats.h5 below `root`."""
    for number in range(train + validation):
        part = "train" if number < train else "validation"
        write_hdf(root / part / f"data-2000-01-{number + 1:02d}-00-1.h5", sample_arrays(number))
    write_stats(root)

"""The same work by this project's programs, as a user gets it."""

from tests.bench import cloudmask, deepcam
from tests.bench.measure import start

WORK = {
    ("cloudmask", "forward"): cloudmask.scene_pass,
    ("cloudmask", "step"): cloudmask.patch_step,
    ("deepcam", "forward"): deepcam.sample_pass,
    ("deepcam", "step"): deepcam.sample_step,
}


def build(benchmark: str, kind: str, precision: str) -> tuple:
    """(what is called for one unit of work, what it is)."""
    return WORK[benchmark, kind](start(precision, trains=kind == "step")), "ours"

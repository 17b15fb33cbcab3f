"""One training run from end to end: run folder, MLPerf log, training, report, exit code."""

from typing import Optional

import tensorflow as tf

from common import distributed
from common.distributed import Placement
from common.report import one_run as run_report
from common.runs import mlperf
from common.runs.folder import open_run
from tf_deepcam import train
from tf_deepcam.config import Config


def run(config: Config, resume: Optional[str], placement: Placement) -> int:
    """Returns the exit code: 0 also when the target was not reached, which the log and the report say."""
    folder = open_run(config, config.output, "deepcam train", resume)
    log = mlperf.Log(folder / "mlperf.log")
    log.start("init")
    # Made with a script before the job starts; a program cannot empty other nodes' page caches.
    log.event("cache_clear", False)
    log.submission("deepcam", config.submission, len(tf.config.list_physical_devices("GPU")))
    folder.say(f"run folder: {folder.path}")
    summary = train.train(config, folder, log, placement.threads)
    target = config.training.target_iou
    if target and not summary["target_reached"]:
        best = summary["evaluation"].get("iou", float("nan"))
        folder.say(f"target not reached: iou {best:.4f} < {target} after {summary['epochs']:.0f} epochs")
    if distributed.is_root():
        run_report.report(folder.path)
    distributed.barrier()
    return 0

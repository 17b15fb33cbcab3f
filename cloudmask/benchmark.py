"""One benchmark run from end to end: run folder, MLPerf log, training, inference, report, exit code."""

from pathlib import Path

import tensorflow as tf

from cloudmask import infer, train
from cloudmask.config import Config
from common import distributed
from common.distributed import Placement
from common.report import one_run as run_report
from common.runs import mlperf
from common.runs.folder import Run, check_writable, deliver, open_run


def run(command: str, config: Config, resume: str, placement: Placement) -> int:
    """`command`: run, train or infer. Returns the exit code: 1 if any scene failed."""
    wanted = config.report
    names = [wanted.log_file, wanted.mlperf_logfile, wanted.model_file if command != "infer" else ""]
    distributed.on_root(lambda: [check_writable(Path(name)) for name in names if name])
    folder = open_run(config, config.output, f"cloudmask {command}", resume)
    log = mlperf.Log(folder / "mlperf.log")
    log.start("init")
    log.event("cache_clear", False)
    log.submission("cloudmask", config.submission, len(tf.config.list_physical_devices("GPU")))
    folder.say(f"run folder: {folder.path}")
    log.end("init")
    log.start("run")
    failed = False
    model_file = None
    if command in ("run", "train"):
        trained = train.train(config, folder, log, placement.threads)
        _reference_line(folder, config, training_line(config, trained))
        model_file = str(folder / "model.keras")
    if command in ("run", "infer"):
        masked = infer.infer(config, folder, log, placement.threads, model_file)
        _reference_line(folder, config, inference_line(config, masked))
        failed = bool(masked["failed"])
    log.end("run", status="aborted" if failed else "success")
    if distributed.is_root():
        if config.report.mlperf_logfile:
            deliver(folder / "mlperf.log", Path(config.report.mlperf_logfile))
        run_report.report(folder.path)
    distributed.barrier()
    return int(failed)


def training_line(config: Config, summary: dict) -> str:
    """The reference program's line on training, word for word in its form."""
    return (
        f"CloudMask training, samples = {summary['scenes']}, epochs={config.training.epochs}, "
        f"bs={_batch_size(config)}, nodes={distributed.nodes()}, gpus={distributed.size()}, "
        f"time_per_epoch={summary['time_per_epoch']:.2f}"
    )


def inference_line(config: Config, summary: dict) -> str:
    """The reference program's line on inference."""
    return (
        f"CloudMask inference, inferences={summary['inferences']}, bs={_batch_size(config)}, "
        f"nodes={distributed.nodes()}, gpus={distributed.size()}, "
        f"time_per_inference={summary['time_per_inference']:.2f}"
    )


def _batch_size(config: Config) -> int:
    """The reference's `bs`: samples in a weight update over all GPUs, before accumulation."""
    return config.training.global_batch_size or config.training.local_batch_size * distributed.size()


def _reference_line(run: Run, config: Config, line: str) -> None:
    """Append to the run's own log and, if asked for, to the user's."""
    if not distributed.is_root():
        return
    for path in (run / "cloudmask.log", *([Path(config.report.log_file)] if config.report.log_file else [])):
        with open(path.expanduser(), "a", encoding="utf-8") as file:
            file.write(line + "\n")

"""The reference program's two log lines, to the letter, so that scripts that read them still work."""

from pathlib import Path

from cloudmask.config import Config
from common import distributed
from common.runs.files import append
from common.runs.folder import Run


def training_line(config: Config, scenes: int, time_per_epoch: float) -> str:
    """The line after training; time_per_epoch in seconds."""
    return (
        f"CloudMask training, samples = {scenes}, epochs={config.training.epochs}, "
        f"bs={_batch_size(config)}, nodes={distributed.nodes()}, gpus={distributed.size()}, "
        f"time_per_epoch={time_per_epoch:.2f}"
    )


def inference_line(config: Config, inferences: int, time_per_inference: float) -> str:
    """The line after inference; time_per_inference in seconds a scene."""
    return (
        f"CloudMask inference, inferences={inferences}, bs={_batch_size(config)}, "
        f"nodes={distributed.nodes()}, gpus={distributed.size()}, "
        f"time_per_inference={time_per_inference:.2f}"
    )


def _batch_size(config: Config) -> int:
    """The reference's `bs`: samples in a weight update over all GPUs, before accumulation."""
    return config.training.global_batch_size or config.training.local_batch_size * distributed.size()


def write(run: Run, config: Config, line: str) -> None:
    """Append a line to the run's cloudmask.log and, if it is set, to report.log_file. Rank 0 writes.

    Raises:
        UserError: if one of them cannot be written.
    """
    if not distributed.is_root():
        return
    for path in (run / "cloudmask.log", *([Path(config.report.log_file)] if config.report.log_file else [])):
        append(path.expanduser(), line.encode())

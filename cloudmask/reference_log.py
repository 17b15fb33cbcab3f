"""The reference program's two lines of text, in its form to the letter: scripts that read them go on working."""

from pathlib import Path

from cloudmask.config import Config
from common import distributed
from common.runs.folder import Run


def training_line(config: Config, scenes: int, time_per_epoch: float) -> str:
    return (
        f"CloudMask training, samples = {scenes}, epochs={config.training.epochs}, "
        f"bs={_batch_size(config)}, nodes={distributed.nodes()}, gpus={distributed.size()}, "
        f"time_per_epoch={time_per_epoch:.2f}"
    )


def inference_line(config: Config, inferences: int, time_per_inference: float) -> str:
    return (
        f"CloudMask inference, inferences={inferences}, bs={_batch_size(config)}, "
        f"nodes={distributed.nodes()}, gpus={distributed.size()}, "
        f"time_per_inference={time_per_inference:.2f}"
    )


def _batch_size(config: Config) -> int:
    """The reference's `bs`: samples in a weight update over all GPUs, before accumulation."""
    return config.training.global_batch_size or config.training.local_batch_size * distributed.size()


def write(run: Run, config: Config, line: str) -> None:
    """Append to the run's own log and, if asked for, to the user's."""
    if not distributed.is_root():
        return
    for path in (run / "cloudmask.log", *([Path(config.report.log_file)] if config.report.log_file else [])):
        with open(path.expanduser(), "a", encoding="utf-8") as file:
            file.write(line + "\n")

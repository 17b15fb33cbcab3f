"""Assembly of all that training needs, in the same order for every benchmark, for `train` and for `--dry-run`.

The order matters: seeds and precision are set before the network is built, and batch sizes, which change if a run
resumes on another number of ranks, are known before the data set is touched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import tensorflow as tf

from common import distributed
from common.data.batches import Batches
from common.distributed import status
from common.keras import files
from common.keras.names import keras_policy
from common.optim import optimizers
from common.optim.settings import ScheduleSettings
from common.session import Session
from common.training.continuation import keep_global_batch
from common.training.settings import BatchSizes, TrainingSettings, batch_sizes
from common.training.step import prepare
from common.training.task import Task


class Config(Protocol):
    """The part of a benchmark's settings that is used here."""

    @property
    def training(self) -> Any: ...  # its own TrainingSettings

    @property
    def optimizer(self) -> Any: ...  # its own OptimizerSettings

    @property
    def schedule(self) -> ScheduleSettings: ...

    def model_copy(self, *, update: dict[str, Any]) -> Any: ...


class Data(Protocol):
    """A benchmark's data: batches to train on, and held-out batches to evaluate on."""

    @property
    def training(self) -> Batches: ...

    @property
    def held_out(self) -> Batches: ...


AnyConfig = TypeVar("AnyConfig", bound=Config)
AnyData = TypeVar("AnyData", bound=Data)


@dataclass(frozen=True)
class Assembly(Generic[AnyConfig, AnyData]):
    """All that a training needs, ready to begin. config: with the batch sizes for the present number of ranks."""

    config: AnyConfig
    data: AnyData
    task: Task
    optimizer: tf.keras.optimizers.Optimizer
    sizes: BatchSizes


def assemble(
    config: AnyConfig,
    session: Session,
    load: Callable[[AnyConfig, BatchSizes], AnyData],
    make_task: Callable[[AnyConfig, AnyData], Task],
) -> Assembly[AnyConfig, AnyData]:
    """Make data, network and optimizer for the present ranks, and write their settings to the MLPerf log. Collective.

    Args:
        config: the settings as the user gave them.
        session: the open run.
        load: lists the data and makes batches of the given sizes.
        make_task: builds the network and its objective.

    Raises:
        UserError: if no training is possible with these settings or data.
    """
    run, ranks = session.run, distributed.size()
    settings = keep_global_batch(config.training, run)
    config = config.model_copy(update={"training": settings})
    prepare(settings)
    sizes = batch_sizes(settings, ranks, run.began_on)
    status.update(global_batch=sizes.total)
    data = load(config, sizes)
    if settings.max_validation_steps:
        data.held_out.keep_first(settings.max_validation_steps)
    task = make_task(config, data)
    files.check_saving(task.network)
    optimizer = optimizers.build(
        config.optimizer, config.schedule, ranks=run.began_on, scale_loss=settings.precision == "mixed_float16"
    )
    session.log.events(_log_entries(settings, sizes, data))
    session.log.events(optimizers.log_entries(config.optimizer, config.schedule, run.began_on))
    return Assembly(config, data, task, optimizer, sizes)


def _log_entries(settings: TrainingSettings, sizes: BatchSizes, data: Data) -> dict[str, Any]:
    """Settings under the keys of the published result logs."""
    return {
        "seed": settings.seed,
        # The reference programs log it without accumulation.
        "global_batch_size": sizes.local * distributed.size(),
        "gradient_accumulation_frequency": settings.gradient_accumulation_frequency,
        "train_samples": data.training.samples,
        "eval_samples": data.held_out.samples,
        "precision_mode": keras_policy(settings.precision),
        "tf32": settings.precision == "tf32",
    }

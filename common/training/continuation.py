"""Resuming a run on another number of ranks: the same global batches, divided differently.

The learning rate, the order of samples and the samples of every update stay those of the ranks that the run began on.
What may change is the number of samples in a forward pass, and with it the statistics of batch norms. It is kept where
possible, and the number of accumulated passes changes instead; otherwise it becomes smaller, never larger, as a larger
batch might not fit into memory.
"""

from typing import NamedTuple, TypeVar

from common import distributed
from common.errors import UserError
from common.runs.folder import Run
from common.training.settings import TrainingSettings, batch_sizes, most_ranks

AnyTraining = TypeVar("AnyTraining", bound=TrainingSettings)


class Passes(NamedTuple):
    """A rank's part of an update."""

    local: int  # samples in a forward pass
    passes: int  # forward passes


def divide_batch(total: int, ranks: int, local: int) -> Passes:
    """Divide a global batch among ranks and forward passes.

    Args:
        total: samples in the global batch.
        ranks: number of ranks.
        local: samples in a forward pass, if they divide a rank's share; else the largest smaller divisor is taken.

    Raises:
        UserError: if the number of ranks does not divide the global batch.
    """
    share, remainder = divmod(total, ranks)
    if remainder:
        fewer = most_ranks(total, ranks)
        raise UserError(
            f"the run's global batch of {total} cannot be divided evenly among {ranks} ranks: resume on {fewer}, or on "
            "another divisor of it",
            on_all_ranks=True,
        )
    size = next(size for size in range(min(local, share), 0, -1) if share % size == 0)
    return Passes(size, share // size)


def keep_global_batch(settings: AnyTraining, run: Run) -> AnyTraining:
    """Return the settings with which the present ranks have the global batch that the run began with.

    Raises:
        UserError: if the number of ranks does not divide that batch.
    """
    ranks, began_on = distributed.size(), run.began_on
    if ranks == began_on:
        return settings
    before = batch_sizes(settings, began_on)
    local, passes = divide_batch(before.total, ranks, before.local)
    run.say(
        f"resuming on {ranks} ranks a run that began on {began_on}: the global batch stays {before.total}, local batch "
        f"{local} x {passes} passes ({before.local} x {settings.gradient_accumulation_frequency} before)"
    )
    return settings.model_copy(update={"local_batch_size": local, "gradient_accumulation_frequency": passes})

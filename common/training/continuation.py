"""A run that goes on on another number of ranks: the same global batches, shared out in another way.

Its learning rate, its order of samples and what an update sees stay those of the ranks that it began on. What changes
is how many samples pass through the network at once, and with them the statistics of batch norms, so that the samples
of a forward pass stay if that can be and the number of accumulated passes changes; else they become fewer, never more:
they might not fit into memory.
"""

from typing import NamedTuple, TypeVar

from common import distributed
from common.errors import UserError
from common.runs.folder import Run
from common.training.settings import TrainingSettings, batch_sizes, most_ranks

AnyTraining = TypeVar("AnyTraining", bound=TrainingSettings)


class Passes(NamedTuple):
    """Of a rank in an update: samples of a forward pass, and their number."""

    local: int
    passes: int


def shared_out(total: int, ranks: int, local: int) -> Passes:
    """A global batch over so many ranks, by forward passes of `local` samples or, where they do not divide a rank's
    share, of the largest number below that does. Raises UserError if ranks do not divide the batch."""
    share, remainder = divmod(total, ranks)
    if remainder:
        fewer = most_ranks(total, ranks)
        raise UserError(
            f"the run's global batch of {total} cannot be shared evenly by {ranks} ranks: resume it on {fewer}, or "
            "another divisor of it",
            on_all_ranks=True,
        )
    size = next(size for size in range(min(local, share), 0, -1) if share % size == 0)
    return Passes(size, share // size)


def as_begun(settings: AnyTraining, run: Run) -> AnyTraining:
    """The settings for the ranks there are, with the global batch of those that the run began on. Raises UserError."""
    ranks, began_on = distributed.size(), run.began_on
    if ranks == began_on:
        return settings
    before = batch_sizes(settings, began_on)
    local, passes = shared_out(before.total, ranks, before.local)
    run.say(
        f"going on on {ranks} ranks with a run that began on {began_on}: the global batch stays {before.total}, local "
        f"batch {local} x {passes} passes ({before.local} x {settings.gradient_accumulation_frequency} before)"
    )
    return settings.model_copy(update={"local_batch_size": local, "gradient_accumulation_frequency": passes})

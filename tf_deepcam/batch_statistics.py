"""Over how many samples batch statistics are taken: a rank's, or those of a group of ranks.

It changes what training converges to, so that a recipe says for how many samples its convergence point was taken
(training.samples_per_statistic), and the group of ranks follows from the local batch. MLPerf's point for batch 128 was
taken with 4 samples (32 workers), the published runs at 2048 ranks with 1 sample each used groups of 2.
"""

from functools import partial
from typing import Callable, Optional

from common.errors import UserError
from common.training.settings import batch_sizes
from tf_deepcam.config import NO_EXCHANGE_IN_XLA, DeepcamTrainingSettings


def group_size(settings: DeepcamTrainingSettings, ranks: int) -> int:
    """Ranks that share statistics: batchnorm_group_size or, where that is 0, the largest divisor of the number of ranks
    with which a group has no more than samples_per_statistic. Raises UserError as batch_sizes does, for a
    group size that does not divide the ranks, and for a group within what XLA is to compile."""
    if settings.batchnorm_group_size:
        if ranks % settings.batchnorm_group_size:
            raise UserError(
                f"training.batchnorm_group_size {settings.batchnorm_group_size} does not divide the {ranks} ranks: use "
                "a divisor, or 1",
                on_all_ranks=True,
            )
        return settings.batchnorm_group_size
    most = max(settings.samples_per_statistic // batch_sizes(settings, ranks).local, 1)
    size = max(size for size in range(1, min(most, ranks) + 1) if ranks % size == 0)
    if settings.xla and size > 1:
        raise UserError(
            f"training.samples_per_statistic {settings.samples_per_statistic} makes groups of {size} of the {ranks} "
            f"ranks, which {NO_EXCHANGE_IN_XLA}",
            on_all_ranks=True,
        )
    return size


def grouping(settings: DeepcamTrainingSettings) -> Optional[Callable[[int], int]]:
    """group_size of the number of ranks, for common.distributed.init; None where ranks can have nothing to share."""
    shares = settings.batchnorm_group_size > 1 or (settings.samples_per_statistic and not settings.batchnorm_group_size)
    return partial(group_size, settings) if shares else None


def check_groups(asked: DeepcamTrainingSettings, now: DeepcamTrainingSettings, ranks: int) -> None:
    """Groups were made when the ranks found each other, as `asked`; a run that goes on on other ranks may have changed
    its local batch since, in `now`. Raises UserError if that needs other groups."""
    made, needed = group_size(asked, ranks), group_size(now, ranks)
    if made != needed:
        raise UserError(
            f"on {ranks} ranks the run would share batch statistics among {needed} of them, by its settings among "
            f"{made}: go on on as many as it began on, or set training.batchnorm_group_size",
            on_all_ranks=True,
        )


def samples_per_statistic(settings: DeepcamTrainingSettings, ranks: int) -> int:
    return group_size(settings, ranks) * batch_sizes(settings, ranks).local


def line(settings: DeepcamTrainingSettings, ranks: int) -> str:
    """What to tell, a warning where the statistics are not those that the settings ask for."""
    found, wanted = samples_per_statistic(settings, ranks), settings.samples_per_statistic
    local, group = batch_sizes(settings, ranks).local, group_size(settings, ranks)
    said = f"batch statistics over {found} samples: local batch {local} x {group} ranks that share them"
    if not wanted or found == wanted:
        return said
    return f"warning: {said}; training.samples_per_statistic is {wanted}, with which the training may end elsewhere"


def exchange_warning(layers: int, cycle_ms: float) -> Optional[str]:
    """What groups will cost; layers: batch norms whose statistics ranks share.

    Each exchanges its mean and mean of squares at once in the forward pass, and their gradients in the backward pass.
    They depend on one another, so that each waits for Horovod's next look: 21.7 ms at a cycle of 20 ms, 9 at 5 and 3
    at 1, measured on two ranks of one CPU. On fast links the look is the larger part.
    """
    if not layers:
        return None
    exchanges = 2 * layers
    return (
        f"warning: {layers} layers share batch statistics: {exchanges} exchanges a forward and backward pass, "
        f"one after the other, about {exchanges * cycle_ms / 1000:.2f} s of waiting "
        f"(HOROVOD_CYCLE_TIME is {cycle_ms:g} ms)"
    )

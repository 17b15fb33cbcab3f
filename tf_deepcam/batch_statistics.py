"""The number of samples over which batch statistics are taken: a rank's samples, or those of a group of ranks.

This number changes what training converges to. A recipe therefore states the one of its convergence point
(training.samples_per_statistic), and the size of the groups follows from the local batch. MLPerf's point for batch 128
was taken with 4 samples (32 workers); the published runs at 2048 ranks with 1 sample each used groups of 2.
"""

from functools import partial
from typing import Callable, Optional

from common.errors import UserError
from common.training.settings import batch_sizes
from tf_deepcam.config import NO_EXCHANGE_IN_XLA, DeepcamTrainingSettings


def group_size(settings: DeepcamTrainingSettings, ranks: int) -> int:
    """Return how many ranks share batch statistics.

    It is batchnorm_group_size or, if that is 0, the largest divisor of the number of ranks with which a group has no
    more than samples_per_statistic.

    Raises:
        UserError: as batch_sizes does; for a group size that does not divide the ranks; and for groups with XLA.
    """
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
    """Return group_size as a function of the number of ranks, for common.distributed.init; None if no ranks share."""
    shares = settings.batchnorm_group_size > 1 or (settings.samples_per_statistic and not settings.batchnorm_group_size)
    return partial(group_size, settings) if shares else None


def check_groups(initial: DeepcamTrainingSettings, adapted: DeepcamTrainingSettings, ranks: int) -> None:
    """Check that a run that resumes on another number of ranks has the groups of ranks that it needs.

    Args:
        initial: the user's settings, by which the groups were made when the program began.
        adapted: these settings with the local batch that the run has on the present ranks.
        ranks: number of ranks.

    Raises:
        UserError: if the two need groups of different sizes.
    """
    present, needed = group_size(initial, ranks), group_size(adapted, ranks)
    if present != needed:
        raise UserError(
            f"on {ranks} ranks the run would share batch statistics among {needed} of them, by its settings among "
            f"{present}: resume on as many ranks as it began on, or set training.batchnorm_group_size",
            on_all_ranks=True,
        )


def samples_per_statistic(settings: DeepcamTrainingSettings, ranks: int) -> int:
    """Return the number of samples over which batch statistics are taken."""
    return group_size(settings, ranks) * batch_sizes(settings, ranks).local


def describe(settings: DeepcamTrainingSettings, ranks: int) -> str:
    """Return a line on the batch statistics, a warning if they are not those that the settings ask for."""
    actual, target = samples_per_statistic(settings, ranks), settings.samples_per_statistic
    local, group = batch_sizes(settings, ranks).local, group_size(settings, ranks)
    text = f"batch statistics over {actual} samples: local batch {local} x {group} ranks that share them"
    if not target or actual == target:
        return text
    return f"warning: {text}; training.samples_per_statistic is {target}, so training may converge differently"


def exchange_warning(layers: int, cycle_ms: float) -> Optional[str]:
    """Return a warning of what sharing batch statistics will cost; None without shared ones.

    Each layer exchanges its mean and mean of squares together in the forward pass, and their gradients in the backward
    pass. These exchanges depend on one another, so each waits for Horovod's next cycle: 21.7 ms at a cycle of 20 ms, 9
    at 5 and 3 at 1, measured on two ranks of one CPU. On fast links this wait is the larger part.

    Args:
        layers: number of batch norms whose statistics ranks share.
        cycle_ms: Horovod's cycle time.
    """
    if not layers:
        return None
    exchanges = 2 * layers
    return (
        f"warning: {layers} layers share batch statistics: {exchanges} exchanges per forward and backward pass, "
        f"one after the other, about {exchanges * cycle_ms / 1000:.2f} s of waiting "
        f"(HOROVOD_CYCLE_TIME is {cycle_ms:g} ms)"
    )

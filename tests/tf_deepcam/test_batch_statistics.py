"""How many ranks share batch statistics."""

import pytest

from common.errors import UserError
from tf_deepcam import config
from tf_deepcam.batch_statistics import describe, exchange_warning, group_size, grouping, samples_per_statistic
from tf_deepcam.config import DeepcamTrainingSettings


@pytest.mark.parametrize(
    ("settings", "ranks", "group", "samples", "warns"),
    [
        ({"local_batch_size": 1}, 8, 1, 1, False),
        ({"local_batch_size": 1, "batchnorm_group_size": 4}, 8, 4, 4, False),
        ({"global_batch_size": 2048, "samples_per_statistic": 2}, 2048, 2, 2, False),  # as Eos and Perlmutter
        ({"global_batch_size": 2048, "samples_per_statistic": 2}, 1024, 1, 2, False),  # as the reference's script
        ({"global_batch_size": 128, "samples_per_statistic": 4}, 32, 1, 4, False),  # as the convergence point
        ({"global_batch_size": 128, "samples_per_statistic": 4}, 128, 4, 4, False),
        ({"global_batch_size": 128, "samples_per_statistic": 4}, 16, 1, 8, True),
        ({"local_batch_size": 1, "samples_per_statistic": 4}, 6, 3, 3, True),  # 4 does not divide 6
        ({"local_batch_size": 1, "samples_per_statistic": 2, "batchnorm_group_size": 1}, 6, 1, 1, True),
        ({"local_batch_size": 3, "samples_per_statistic": 4}, 6, 1, 3, True),
        ({"local_batch_size": 1, "samples_per_statistic": 4}, 2, 2, 2, True),
    ],
)
def test_the_group_follows_from_the_local_batch(settings, ranks, group, samples, warns):
    made = DeepcamTrainingSettings(**settings)
    assert (group_size(made, ranks), samples_per_statistic(made, ranks)) == (group, samples)
    assert describe(made, ranks).startswith("warning: ") == warns


def test_groups_are_made_only_where_ranks_may_share():
    assert grouping(DeepcamTrainingSettings()) is None
    assert grouping(DeepcamTrainingSettings(batchnorm_group_size=1, samples_per_statistic=4)) is None
    assert grouping(DeepcamTrainingSettings(samples_per_statistic=4))(4) == 4


def test_the_cost_of_shared_statistics_is_said():
    assert exchange_warning(0, 1.0) is None
    assert exchange_warning(76, 20.0) == (
        "warning: 76 layers share batch statistics: 152 exchanges per forward and backward pass, one after the other, "
        "about 3.04 s of waiting (HOROVOD_CYCLE_TIME is 20 ms)"
    )


def test_groups_are_refused_where_xla_would_compile_their_exchange():
    with pytest.raises(UserError, match=r"'training' batchnorm_group_size 2 cannot go with xla: ranks exchange"):
        config.load(None, ["training.xla=true", "training.batchnorm_group_size=2"])
    derived = DeepcamTrainingSettings(xla=True, local_batch_size=1, samples_per_statistic=4)
    with pytest.raises(
        UserError, match=r"samples_per_statistic 4 makes groups of 2 of the 2 ranks, which cannot go with"
    ):
        group_size(derived, 2)
    assert group_size(derived, 1) == 1  # one rank has nothing to exchange
    assert group_size(DeepcamTrainingSettings(xla=True, local_batch_size=4, samples_per_statistic=4), 2) == 1
    assert group_size(DeepcamTrainingSettings(xla=True, batchnorm_group_size=1, samples_per_statistic=4), 2) == 1

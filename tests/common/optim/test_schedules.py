"""Learning rates against the reference program's, step by step."""

import numpy as np
import pytest

from common.optim.schedules import Schedule, ScheduleSettings
from tests.helpers import GOLDEN

GOLDEN_RATES = np.load(GOLDEN / "deepcam_seed2018.npz")


def rates(start_lr: float, steps: int, **settings) -> np.ndarray:
    return Schedule(start_lr, ScheduleSettings(**settings))(np.arange(steps)).numpy()


@pytest.mark.parametrize(
    ("name", "start_lr", "settings"),
    [
        ("multistep_0.001_warm0_ms20,40_g0.5", 1e-3, {"milestones": (20, 40), "decay_rate": 0.5}),
        ("cosine_0.001_warm0_t50_e0.0001", 1e-3, {"t_max": 50, "eta_min": 1e-4}),
    ],
)
def test_without_warm_up_every_step_is_the_reference_s(name, start_lr, settings):
    golden = GOLDEN_RATES[f"lr_{name}"]
    shape = "multistep" if "milestones" in settings else "cosine_annealing"
    np.testing.assert_allclose(rates(start_lr, len(golden), lr_schedule=shape, **settings), golden, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "start_lr", "warmup", "settings"),
    [
        ("multistep_0.0055_warm400x1_ms800_g0.1", 5.5e-3, (400, 1.0), {"milestones": (800,), "decay_rate": 0.1}),
        ("multistep_0.001_warm10x4_ms20,40_g0.5", 1e-3, (10, 4.0), {"milestones": (20, 40), "decay_rate": 0.5}),
    ],
)
def test_with_warm_up_the_shape_is_the_reference_s_and_the_plateau_is_the_target(name, start_lr, warmup, settings):
    golden = GOLDEN_RATES[f"lr_{name}"]
    steps, factor = warmup
    warm = {"lr_warmup_steps": steps, "lr_warmup_factor": factor}
    ours = rates(start_lr, len(golden), lr_schedule="multistep", **warm, **settings)
    np.testing.assert_allclose(ours[: steps - 1], golden[: steps - 1], rtol=1e-6)
    # After warm-up the reference stays at (target - one step); ours is at the target from step `steps` on.
    slip = start_lr * factor / golden[steps - 1]
    np.testing.assert_allclose(ours[steps - 1 :], golden[steps - 1 :] * slip, rtol=1e-6)
    assert ours[steps - 1] == pytest.approx(start_lr * factor, rel=1e-6)


def test_cosine_after_warm_up_starts_at_the_target_where_the_reference_starts():
    golden = GOLDEN_RATES["lr_cosine_0.001_warm10x2_t50_e0.0001"][9:59]
    warm = {"lr_warmup_steps": 10, "lr_warmup_factor": 2.0}
    ours = rates(1e-3, 59, lr_schedule="cosine_annealing", t_max=50, eta_min=1e-4, **warm)[9:]
    np.testing.assert_allclose((ours - 1e-4) / (2e-3 - 1e-4), (golden - 1e-4) / (1.9e-3 - 1e-4), atol=1e-6)


def test_the_published_logs_plateau():
    # Perlmutter, 2048 x A100: 0.0055 from update 406 to 1160, 0.00055 at update 1218.
    ours = rates(5.5e-3, 1218, lr_schedule="multistep", milestones=(800,), decay_rate=0.1, lr_warmup_steps=400)
    np.testing.assert_allclose(ours[405:1160], 0.0055, rtol=1e-6)
    assert ours[1217] == pytest.approx(0.00055, rel=1e-6)

"""Rule sets: what they fix, what they leave, and whom they blame."""

from operator import attrgetter
from pathlib import Path

import pytest

from common.errors import UserError
from tf_deepcam import config
from tf_deepcam.rules import TABLES

# Rule set: recipe, a value that it refuses, the key and what is said of it; and one that it leaves free.
CASES = {
    "mlperf_closed": ("rcp_2048", "optimizer.eps=0.001", "fixed at 1e-06 (rules: mlperf_closed; MLPerf HPC v3.0",
                      "optimizer.start_lr=0.1"),
    "esif_baseline": ("esif_baseline", "training.save_frequency=100", "fixed at 400 (rules: esif_baseline; ESIFHPC4",
                      "data.max_inter_threads=4"),
    "esif_ported": ("esif_baseline", "optimizer.start_lr=0.002", "fixed at 0.001 (rules: esif_ported; ESIFHPC4",
                    "training.max_epochs=3"),
    "esif_optimized": ("esif_optimized", "training.precision=mixed_bfloat16", "fixed at float32 (rules: esif_optimized",
                       "optimizer.optimizer=AdamW"),
    "nersc10": ("nersc10", "training.gradient_accumulation_frequency=2", "fixed at 1 (rules: nersc10; NERSC-10",
                "optimizer.start_lr=0.002"),
}  # fmt: skip


def load(recipe: str, *changes: str) -> config.Config:
    return config.load(f"config/deepcam/{recipe}.yaml", list(changes))


def test_every_rule_set_has_a_case():
    assert CASES.keys() == TABLES.keys()


@pytest.mark.parametrize("rules", CASES)
def test_a_refused_value_is_named_with_its_rule_and_a_free_one_is_taken(rules):
    recipe, refused, message, free = CASES[rules]
    load(recipe, f"rules={rules}", free)
    load(recipe, "rules=free", refused)
    with pytest.raises(UserError) as problem:
        load(recipe, f"rules={rules}", refused)
    key, value = refused.split("=")
    line = str(problem.value)
    assert line.startswith(f"override '{refused}': '{key}' is {message}")
    assert value in line.rsplit("(found: ", 1)[1]


@pytest.mark.parametrize("rules", CASES)
def test_what_a_file_leaves_out_is_the_rule_s_and_blames_nobody(rules, tmp_path):
    (tmp_path / "bare.yaml").write_text(f"benchmark: deepcam\nrules: {rules}\n")
    settings = config.load(str(tmp_path / "bare.yaml"))
    for name, value in TABLES[rules].fixed.items():
        assert attrgetter(name)(settings) == value, name


def test_bounds_and_choices():
    with pytest.raises(UserError, match="max_epochs' must be at least 16"):
        load("nersc10", "training.max_epochs=8")
    with pytest.raises(UserError, match="lr_schedule' must be cosine_annealing or multistep"):
        load("rcp_128", "schedule.lr_schedule=constant")


def test_the_line_of_the_file_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("benchmark: deepcam\nrules: mlperf_closed\nmodel:\n  width: 0.5\n")
    with pytest.raises(UserError, match=r"a\.yaml:4: 'model\.width' is fixed at 1\.0"):
        config.load(str(tmp_path / "a.yaml"))


def test_optimised_precision_is_nowhere_in_esif():
    for name in ("training.compress_allreduce=true", "data.stage_dtype=float16", "training.precision=tf32"):
        with pytest.raises(UserError, match="is fixed at"):
            load("esif_optimized", name)


def test_recipes_for_submissions_name_their_rules():
    ruled = {path.stem: config.load(str(path)).rules for path in Path("config/deepcam").glob("*.yaml")}
    assert {name: rules for name, rules in ruled.items() if rules != "free"} == {
        **{f"rcp_{batch}": "mlperf_closed" for batch in (128, 256, 512, 1024, 2048)},
        "esif_baseline": "esif_baseline", "esif_optimized": "esif_optimized", "nersc10": "nersc10",
    }  # fmt: skip

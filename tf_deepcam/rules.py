"""Rule sets under which a DeepCAM result is submitted: the settings that they fix, those that they bound.

With `rules: NAME` in a YAML file, a key that the file leaves out takes the rule's value, and another value is refused
with an error that names key, value and rule. A key that is in no table is free.

Sources
- MLPerf HPC v3.0: mlcommons/training_policies, hpc_training_rules.adoc (closed division, table of hyperparameters;
  what is not in that table is as in the reference) and training_rules.adoc (initial weights, data, seeds).
- ESIF: the procurement suite ESIFHPC4, AI-ML page ("Run Rules": baseline, ported, optimized) and the suite's own
  README (types of run; no optimisation of precision unless a benchmark's page allows it). By that page a baseline is a
  fork of the PyTorch program, so this program's runs are ported or optimized ones.
- NERSC-10: the benchmark's page and EPCC's notes on it (global batch 2048, accumulation unchanged, time to 16 epochs).
"""

from typing import Any, Literal, NamedTuple

RuleSet = Literal["free", "mlperf_closed", "esif_baseline", "esif_ported", "esif_optimized", "nersc10"]


class Table(NamedTuple):
    """A rule set; the dictionaries are by a setting's full name."""

    source: str  # where the rules are published
    report_as: str  # the run type in forms
    fixed: dict[str, Any]  # the only value
    choices: dict[str, tuple] = {}  # noqa: RUF012 - never written to; the values, the first of them by default
    least: dict[str, float] = {}  # noqa: RUF012 - the smallest value


# Network, data, loss and evaluation: under every rule set, those of the reference program.
_FUNCTION = {
    "data.channels": tuple(range(16)),
    "data.on_bad_sample": "stop",
    "model.output_stride": 16,
    "model.width": 1.0,
    "model.middle_blocks": 16,
    "model.checkpoint": "",
    "loss.loss": "weighted",
    "loss.loss_weight_pow": -0.125,
    "training.max_validation_steps": 0,
    "training.validation_frequency": 0,
}
_OPTIMIZER_DETAILS = {
    "optimizer.eps": 1e-6,
    "optimizer.max_grad_norm": None,
    "optimizer.larc_eta": 0.0,
}
# "Precision optimisations are not allowed": neither in arithmetic nor in exchanged gradients or staged samples.
_FULL_PRECISION = {
    "training.precision": "float32",
    "training.compress_allreduce": False,
    "data.stage_dtype": "float32",
}
_ESIF_FIXED = {
    **_FUNCTION,
    **_OPTIMIZER_DETAILS,
    **_FULL_PRECISION,
    "optimizer.optimizer_betas": (0.9, 0.999),
    "training.checkpoints": "epoch",
    "training.save_frequency": 400,
    "training.logging_frequency": 0,
    "training.gradient_accumulation_frequency": 1,
    "training.batchnorm_group_size": 1,
    "training.target_iou": 0.82,
}
_ESIF_PARAMETERS = {
    "training.local_batch_size": 8,
    "training.global_batch_size": 0,
    "optimizer.optimizer": "AdamW",
    "optimizer.start_lr": 1e-3,
    "optimizer.weight_decay": 1e-2,
    "optimizer.learning_rate_scaling": "none",
    "schedule.lr_schedule": "multistep",
    "schedule.milestones": (1200,),
    "schedule.decay_rate": 0.5,
    # The page's factor is nodes / local batch, rounded down; without warm-up steps the reference does not use it.
    "schedule.lr_warmup_steps": 0,
    "schedule.lr_warmup_factor": 1.0,
}
_ESIF_PAGE = "ESIFHPC4, AI-ML (DeepCAM), Run Rules"

TABLES: dict[str, Table] = {
    "mlperf_closed": Table(
        "MLPerf HPC v3.0, closed division",
        "closed",
        {**_FUNCTION, **_OPTIMIZER_DETAILS, "training.target_iou": 0.82, "submission.division": "closed"},
        {"schedule.lr_schedule": ("cosine_annealing", "multistep")},
    ),
    "esif_baseline": Table(
        f"{_ESIF_PAGE}, Baseline submissions", "baseline settings", {**_ESIF_FIXED, **_ESIF_PARAMETERS}
    ),
    "esif_ported": Table(f"{_ESIF_PAGE}, Ported submissions", "ported", {**_ESIF_FIXED, **_ESIF_PARAMETERS}),
    "esif_optimized": Table(f"{_ESIF_PAGE}, Optimized submissions", "optimized", _ESIF_FIXED),
    "nersc10": Table(
        "NERSC-10, DeepCAM",
        "NERSC-10",
        {**_FUNCTION, "training.global_batch_size": 2048, "training.gradient_accumulation_frequency": 1},
        least={"training.max_epochs": 16},
    ),
}


def run_type(rules: str) -> str:
    """Return what forms call a run under this rule set."""
    table = TABLES.get(rules)
    return table.report_as if table else "no rule set"


def _section(tree: dict, name: str) -> Any:
    section, key = name.split(".")
    return tree.setdefault(section, {}), key


def fill_in(tree: dict) -> dict:
    """Return the tree of settings with the rule's value for each key that it leaves out."""
    table = TABLES.get(str(tree.get("rules")))
    if table is None:
        return tree
    tree = {name: dict(value) if isinstance(value, dict) else value for name, value in tree.items()}
    chosen = {name: choices[0] for name, choices in table.choices.items()}
    for name, value in {**table.fixed, **chosen}.items():
        section, key = _section(tree, name)
        if isinstance(section, dict):
            section.setdefault(key, list(value) if isinstance(value, tuple) else value)
    return tree


class Broken(NamedTuple):
    """A setting that its rule set refuses, and why."""

    name: str
    why: str


def broken(rules: str, value_of: Any) -> list[Broken]:
    """Return the settings that break the rules.

    Args:
        rules: name of the rule set.
        value_of: from a setting's full name to its value.
    """
    table = TABLES.get(rules)
    if table is None:
        return []
    advice = f"(rules: {rules}; {table.source}): take that value, or set rules: free"
    refused = []
    for name, fixed in table.fixed.items():
        if value_of(name) != fixed:
            refused.append(Broken(name, f"is fixed at {_shown(fixed)} {advice}"))
    for name, choices in table.choices.items():
        if value_of(name) not in choices:
            refused.append(Broken(name, f"must be {' or '.join(map(_shown, choices))} {advice}"))
    for name, least in table.least.items():
        if value_of(name) < least:
            refused.append(Broken(name, f"must be at least {least} {advice}"))
    return refused


def _shown(value: Any) -> str:
    return "null" if value is None else str(list(value) if isinstance(value, tuple) else value)

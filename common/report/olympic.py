"""MLPerf's score of time to solution: the olympic mean of several runs, one after the other."""

from collections import defaultdict
from typing import Optional

import numpy as np
from rich.table import Table

from common.report.generic import minutes_to_target
from common.report.options import Options, show
from common.report.tables import table
from common.report.throughput import is_instance


def olympic_table(runs: list, options: Options) -> Optional[Table]:
    """MLPerf's score of several runs of one kind, one after the other: the mean time from run_start to run_stop without
    the fastest and the slowest of at least five, each with a seed of its own."""
    kinds = defaultdict(list)
    for run in runs:
        words = (show(run.value(key)) for key in ("submission_benchmark", "submission_org", "opt_name"))
        if not is_instance(run):  # those are one result together
            kinds[(*words, run.ranks, run.samples_per_update)].append(run)
    form = table("Several runs of one kind", "kind", "runs", "at the target", "olympic mean, min")
    for (benchmark, organisation, optimizer, ranks, batch), alike in kinds.items():
        if len(alike) < 2:
            continue
        reached = sum(minutes_to_target(run, options.target) is not None for run in alike)
        name = f"{benchmark}, {organisation}, {show(ranks)} ranks, batch {show(batch)}, {optimizer}"
        form.add_row(name, str(len(alike)), str(reached), _olympic_score(alike, options))
    return form if form.row_count else None


def _olympic_score(alike: list, options: Options) -> str:
    seeds = [show(run.value("seed")) for run in alike if run.value("seed") is not None]
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        return f"none: seed {', '.join(twice)} more than once"
    if len(alike) < 5:
        return "needs 5 runs"
    # A run that misses the target is the slowest; a second one leaves no mean.
    missed = [minutes_to_target(run, options.target) is None for run in alike]
    seconds = [np.inf if bad else run.interval("run") or np.inf for run, bad in zip(alike, missed)]
    mean = float(np.mean(sorted(seconds)[1:-1])) / 60
    return f"{mean:.3f}" if np.isfinite(mean) else "two runs missed"

"""MLPerf's score of time to solution: the olympic mean of several runs, one after the other."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Optional, Union

import numpy as np
from rich.table import Table

from common.report.compliance import ruleset_of
from common.report.extension import extension_of
from common.report.generic import minutes_to_target
from common.report.logs import RunLog
from common.report.options import Options, show
from common.report.tables import table
from common.report.throughput import is_instance

# In a process of its own: the logs may be anybody's.
_ASK_FACTOR = """
import json, sys
from mlperf_logging.rcp_checker.rcp_checker import check_directory
passed, _, factor = check_directory(sys.argv[1], "hpc", sys.argv[2], False, False, rcp_pass="pruned_rcps")
print(json.dumps([bool(passed), factor]))
"""


def olympic_table(runs: list, options: Options) -> Optional[Table]:
    """MLPerf's score of several runs of one kind, one after the other: the mean time from run_start to run_stop without
    the fastest and the slowest of at least five, each with a seed of its own."""
    kinds = defaultdict(list)
    for run in runs:
        own = extension_of(run.benchmark).kind
        words = (show(run.value(key)) for key in ("submission_benchmark", "submission_org", "opt_name", *own))
        if not is_instance(run):  # those are one result together
            kinds[(*words, run.ranks, run.samples_per_update)].append(run)
    form = table("Several runs of one kind", "kind", "runs", "at the target", "olympic mean, min", "normalised, min")
    for (benchmark, organisation, *optimizer, ranks, batch), alike in kinds.items():
        if len(alike) < 2:
            continue
        reached = sum(minutes_to_target(run, options.target) is not None for run in alike)
        name = f"{benchmark}, {organisation}, {show(ranks)} ranks, batch {show(batch)}, {', '.join(optimizer)}"
        mean = _olympic_mean(alike, options)
        normalised = _normalised(alike, mean) if isinstance(mean, float) else ""
        shown = f"{mean:.3f}" if isinstance(mean, float) else mean
        form.add_row(name, str(len(alike)), str(reached), shown, normalised)
    form.caption = (
        "Normalised: the mean times the factor by which MLPerf's convergence point for the batch takes more epochs "
        "than these runs did, as mlperf-logging's rcp_checker has it."
    )
    return form if form.row_count else None


def _normalised(alike: list[RunLog], mean: float) -> str:
    """The mean as MLPerf publishes it, with the factor; a dash where there is no convergence point to compare with."""
    benchmark = alike[0].benchmark
    if benchmark is None or not benchmark.ruleset:
        return "-"
    with tempfile.TemporaryDirectory() as folder:
        for number, run in enumerate(alike):
            shutil.copyfile(run.path, Path(folder) / f"result_{number}.txt")
        asked = [sys.executable, "-c", _ASK_FACTOR, folder, ruleset_of(alike[0])]
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True)
    last = done.stdout.splitlines()[-1:]
    try:
        passed, factor = json.loads(last[0])
        return f"{mean * factor:.3f} (x {factor:.4f})" if passed else "- (convergence not accepted)"
    except (IndexError, ValueError, TypeError):
        return "-"


def _olympic_mean(alike: list[RunLog], options: Options) -> Union[float, str]:
    """In minutes, or why there is none."""
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
    return mean if np.isfinite(mean) else "two runs missed"

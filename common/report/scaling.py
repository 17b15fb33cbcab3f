"""Runs of different sizes: which belong together, and speed-up and efficiency over the smallest."""

from collections import defaultdict

import numpy as np
from rich.table import Table

from common.report.extension import extension_of
from common.report.options import show
from common.report.tables import table


def scaling_groups(runs: list) -> list:
    """Lists of runs that differ in size: of one benchmark, by one organisation, on nodes of one kind."""
    groups = defaultdict(list)
    for run in runs:
        if run.samples_per_second(True) and run.ranks:
            key = ("submission_benchmark", "submission_org", "accelerators_per_node", "precision_mode")
            groups[tuple(show(run.value(name)) for name in (*key, *extension_of(run.benchmark).kind))].append(run)
    return [group for group in groups.values() if len({run.ranks for run in group}) > 1]


def scaling_points(runs: list) -> tuple:
    """(unit, kind, {units: median samples/s}) of one of scaling_groups' lists.

    unit: nodes where they differ, else ranks. kind: strong where the global batch is the same in all, weak where the
    local one is, else mixed.
    """
    nodes = len({run.nodes for run in runs}) > 1 and all(run.nodes for run in runs)
    rates = defaultdict(list)
    for run in runs:
        rates[run.nodes if nodes else run.ranks].append(run.samples_per_second(True))
    same_global = len({run.samples_per_update for run in runs}) == 1
    same_local = len({(run.local_batch, run.accumulation) for run in runs}) == 1
    kind = "strong" if same_global else "weak" if same_local else "mixed"
    return ("nodes" if nodes else "ranks"), kind, {n: float(np.median(rates[n])) for n in sorted(rates)}


def scaling_title(runs: list) -> str:
    benchmark, organisation = runs[0].value("submission_benchmark"), runs[0].value("submission_org")
    return f"Scaling, {scaling_points(runs)[1]}: {show(benchmark)}, {show(organisation)}"


def scaling_table(runs: list) -> Table:
    """Speed-up and efficiency over the smallest of one of scaling_groups' lists."""
    unit, kind, rates = scaling_points(runs)
    first = min(rates)
    said = {
        "strong": "the same global batch in all",
        "weak": "the same local batch in all",
        "mixed": "neither the global nor the local batch is the same in all, so this is no clean comparison",
    }[kind]
    form = table(scaling_title(runs), unit, "samples/s", "speed-up", "ideal", "efficiency")
    for size, rate in rates.items():
        speedup, ideal = rate / rates[first], size / first
        form.add_row(str(size), f"{rate:.2f}", f"{speedup:.2f}", f"{ideal:.2f}", f"{100 * speedup / ideal:.1f} %")
    missing = [str(size) for size in (2 * first, 4 * first) if size not in rates]
    form.caption = f"{said}; samples/s of the training without evaluation" + (
        f"; no run on {' and '.join(missing)} {unit}" if missing else ""
    )
    form.min_width = 80
    return form

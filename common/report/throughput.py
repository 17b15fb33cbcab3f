"""Throughput (weak scaling) of MLPerf HPC: several models trained at once, an instance each, with a log of its own.

By the rules of v3.0 (training_policies, hpc_training_rules.adoc) the score of M instances on S accelerators each, T in
all, is (T, S, M', TTTa): M' are the models left after pruning, at least as many as the benchmark's rules ask for, and
TTTa is the time from the first run_start to the last run_stop of these. Instances with equal seeds are pruned; models
that missed the target, and runs that broke off or were resumed, are no trained models. More may be pruned, to leave out
what came late.
"""

from collections import defaultdict
from typing import NamedTuple, Optional

from rich.table import Table

from common.report.generic import gpus, reached
from common.report.logs import RunLog
from common.report.options import Options, show
from common.report.tables import table


class Throughput(NamedTuple):
    """models: the instances that count. seconds: TTTa, None without models."""

    models: list[RunLog]
    seconds: Optional[float]

    @classmethod
    def of(cls, models: list[RunLog]) -> "Throughput":
        if not models:
            return cls([], None)
        return cls(models, (max(map(_stop, models)) - min(map(_start, models))) / 1000)

    @property
    def models_per_minute(self) -> float:
        return 60 * len(self.models) / self.seconds if self.seconds else 0.0


def is_instance(run: RunLog) -> bool:
    return run.value("instance_id") is not None


def instance_groups(runs: list[RunLog]) -> list[list[RunLog]]:
    """Instances of one kind that were trained at once, by their numbers."""
    kinds = defaultdict(list)
    for run in runs:
        if is_instance(run) and run.first("run_start"):
            organisation = show(run.value("submission_org"))
            kinds[run.benchmark, organisation, run.ranks, run.samples_per_update].append(run)
    groups: list[list[RunLog]] = []
    for alike in kinds.values():
        last = None
        for run in sorted(alike, key=_start):
            if last is None or _start(run) > last:
                groups.append([])
            groups[-1].append(run)
            last = max(_stop(run), last or 0)
    return [sorted(group, key=lambda run: run.number("instance_id") or 0) for group in groups]


def _start(run: RunLog) -> int:
    start = run.first("run_start")
    assert start is not None
    return start.ms


def _stop(run: RunLog) -> int:
    """The end, or the last event of a run without one."""
    return (run.first("run_stop") or run.events[-1]).ms


def fit(group: list[RunLog], options: Options) -> tuple[list[RunLog], dict[str, str]]:
    """The instances that are trained models with seeds of their own, and why each other one is not."""
    models: list[RunLog] = []
    pruned: dict[str, str] = {}
    seeds: dict[object, str] = {}
    for run in sorted(group, key=lambda run: (_start(run), run.name)):
        seed = run.value("seed")
        if run.pruned:
            pruned[run.name] = "was pruned by its submitter"
        elif run.first("run_stop") is None or run.resumed:
            pruned[run.name] = "was resumed" if run.resumed else "broke off"
        elif reached(run, options.target) is None:
            pruned[run.name] = "missed the target"
        elif seed in seeds:
            pruned[run.name] = f"has the seed {seed} of {seeds[seed]}"
        else:
            models.append(run)
            seeds[seed] = run.name
    return models, pruned


def least_models(group: list[RunLog]) -> int:
    """Of a result, by the rules of the benchmark of these instances."""
    benchmark = group[0].benchmark
    return benchmark.least_models if benchmark else 1


def best(models: list[RunLog], least: int) -> Throughput:
    """The most models per minute that pruning late starters and late finishers leaves, at least `least` models."""
    choice = Throughput.of(models)
    for last in sorted(set(map(_stop, models))):
        by_start = sorted((run for run in models if _stop(run) <= last), key=_start)
        for first in range(len(by_start) - least + 1):
            choice = max(choice, Throughput.of(by_start[first:]), key=lambda one: one.models_per_minute)
    return choice


def throughput_table(runs: list[RunLog], options: Options) -> Optional[Table]:
    """A row for all trained models of a group, and one for the best pruning where that is faster."""
    form = table(
        "Throughput (weak scaling)",
        "Instances",
        "Accelerators\nin all, T",
        "per\ninstance, S",
        "Models\nM'",
        "Time to train\nall (s)",
        "Models\nper minute",
    )
    said = []
    for group in instance_groups(runs):
        models, pruned = fit(group, options)
        least = least_models(group)
        everything, chosen = Throughput.of(models), best(models, least)
        said += [f"{name} {why}" for name, why in pruned.items()]
        name = f"{group[0].name} ... {group[-1].name}" if len(group) > 1 else group[0].name
        _add(form, f"{name}: all trained models", group, everything)
        if least > 1 and group[0].benchmark:
            said.insert(0, f"MLPerf HPC v3.0 wants at least {least} models of {group[0].benchmark.title}")
        if len(chosen.models) < len(models):
            _add(form, f"{name}: late ones pruned", group, chosen)
            said += [f"pruned as late: {run.name}" for run in models if run not in chosen.models]
    if not form.row_count:
        return None
    form.caption = "; ".join(said) or None
    return form


def _add(form: Table, name: str, group: list[RunLog], found: Throughput) -> None:
    each = gpus(group[0]) or group[0].ranks
    form.add_row(
        name,
        show(each * len(group) if each else None),
        show(each),
        f"{len(found.models)} of {len(group)}",
        show(found.seconds, ".3f"),
        f"{found.models_per_minute:.3f}",
    )

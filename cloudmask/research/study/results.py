"""Results of a study as tables: mean and standard deviation over seeds."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from cloudmask.research.config import ResearchConfig
from cloudmask.research.study.plan import Trial, steps
from cloudmask.research.study.runs import accuracy, inference_of, truth_of
from cloudmask.research.study.speed import Cost
from cloudmask.scoring import NETWORK
from common.report.tables import table


class Result(NamedTuple):
    """Pixel accuracy of one trained network in one precision on held-out scenes, against labels and truth.

    NaN where a run's record does not tell it.
    """

    trial: Trial
    precision: str
    against_labels: float
    against_truth: float
    labels: float  # the labels' own accuracy against the truth


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds; NaN if there are too few."""

    mean: float
    deviation: float
    seeds: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        count = len(values)
        return cls(
            float(np.mean(values)) if values else float("nan"),
            float(np.std(values, ddof=1)) if count > 1 else float("nan"),
            count,
        )

    def __str__(self) -> str:
        if not self.seeds:
            return "-"
        return f"{self.mean:.4f}" if np.isnan(self.deviation) else f"{self.mean:.4f} ± {self.deviation:.4f}"


def gather(config: ResearchConfig) -> list[Result]:
    """Read the results of the steps that are done."""
    folder, results = Path(config.output.folder).expanduser(), []
    for step in steps(config):
        record = inference_of(folder / step.name)
        if record is not None:
            truth = truth_of(record)
            against_truth, of_labels = accuracy(truth, NETWORK), accuracy(truth, "labels")
            against_labels = accuracy(record.scores, NETWORK)
            results.append(Result(step.trial, step.precision, against_labels, against_truth, of_labels))
    return results


def spread(results: list[Result], value: str, **which: object) -> Spread:
    """Summarise over seeds.

    Args:
        results: of the study.
        value: the field of a Result to summarise.
        which: the values that fields of its trial, or its precision, must have.
    """

    def fits(result: Result) -> bool:
        known = {**result.trial._asdict(), "precision": result.precision}
        return all(known[name] == expected for name, expected in which.items())

    values = [getattr(result, value) for result in results if fits(result)]
    return Spread.of([value for value in values if not np.isnan(value)])


def losses_table(config: ResearchConfig, results: list[Result], value: str, title: str) -> Table:
    """Tabulate the field `value`: a row for each network and loss, a column for each label error."""
    study = config.study
    built = table(title, "network", "loss", *(f"{100 * error:g} % of\nlabels wrong" for error in study.label_errors))
    for network in study.networks:
        for loss in study.losses:
            which = {"network": network, "loss": loss, "precision": study.precisions[0]}
            cells = [str(spread(results, value, label_error=error, **which)) for error in study.label_errors]
            built.add_row(network, loss, *cells)
    labels = [
        str(Spread(spread(results, "labels", label_error=error).mean, float("nan"), 1)) for error in study.label_errors
    ]
    if value == "against_truth":
        built.add_row("", "the labels themselves", *labels)
    built.columns[1].justify = "left"
    built.caption = f"Pixel accuracy on held-out scenes, mean ± standard deviation over {len(study.seeds)} seeds."
    return built


def networks_table(config: ResearchConfig, results: list[Result], costs: list[Cost]) -> Table:
    """Tabulate accuracy against the truth and cost: a row for each network and precision."""
    built = table(
        "Networks",
        "network",
        "precision",
        "accuracy\nagainst truth",
        "points to\nthe first",
        "seconds\na scene",
        "times as fast\nas the first",
        "parameters",
        "GFLOP\na scene",
        "on the\nfront",
    )
    first = {cost.precision: cost for cost in reversed(costs)}
    best = front(config, results, costs)
    for cost in costs:
        accuracy = accuracy_of(config, results, cost)
        reference = accuracy_of(config, results, first[cost.precision])
        built.add_row(
            cost.network,
            cost.precision,
            str(accuracy),
            f"{100 * (accuracy.mean - reference.mean):+.2f}",
            f"{cost.seconds:.3f}",
            f"{first[cost.precision].seconds / cost.seconds:.1f}",
            f"{cost.parameters}",
            f"{cost.gflop:.1f}",
            "yes" if cost in best else "",
        )
    built.columns[1].justify = "left"
    built.caption = (
        "Times are for a scene of 1200 x 1500 pixels in one pass. On the front: none of the others is both faster and "
        "more accurate."
    )
    return built


def accuracy_of(config: ResearchConfig, results: list[Result], cost: Cost) -> Spread:
    """Accuracy against the truth, with the study's first loss and label error."""
    study = config.study
    which = {"network": cost.network, "precision": cost.precision}
    return spread(results, "against_truth", loss=study.losses[0], label_error=study.label_errors[0], **which)


def front(config: ResearchConfig, results: list[Result], costs: list[Cost]) -> list[Cost]:
    """The Pareto front: those that no other beats in both seconds and accuracy, the fastest first."""
    best: list[Cost] = []
    for cost in sorted(costs, key=lambda each: each.seconds):
        mean = accuracy_of(config, results, cost).mean
        if not np.isnan(mean) and (not best or mean > accuracy_of(config, results, best[-1]).mean):
            best.append(cost)
    return best

"""Charts of a benchmark's runs (common.report.logs.RunLog) as plain data, for the page's JavaScript to draw."""

from collections import defaultdict
from typing import Any, Callable, NamedTuple, Optional

from common.errors import printable
from common.report.generic import target_of
from common.report.logs import Event, RunLog, finite
from common.report.options import Options
from common.report.scaling import scaling_points, scaling_title

_POINTS = 400  # of a curve: more are not told apart in a chart, and would make a page large
_TARGETS = 3  # lines in a chart, where runs had different ones
_NO_RUN = -1  # as page.js knows it
_LEAST = 1e-30  # on a logarithmic axis; a log may hold 5e-324, which has no room below it

Points = list[tuple[float, float]]


class Curve(NamedTuple):
    """x rises. run: the number of the run, which gives the colour."""

    name: str
    run: int
    x: list[float]
    y: list[float]
    dashed: bool = False


class Chart(NamedTuple):
    """title says what y is, x what x is, with its unit. ticks: the only numbers on the x axis, or empty."""

    title: str
    x: str
    curves: list[Curve]
    xlog: bool = False
    ylog: bool = False
    targets: tuple[float, ...] = ()
    ticks: tuple[int, ...] = ()


def charts(runs: list[RunLog], options: Options) -> list[Chart]:
    """What can be drawn of these runs: score by time and epoch, loss, learning rate, samples/s, scaling."""
    targets = sorted({target for run in runs if (target := target_of(run, options.target)) is not None})[:_TARGETS]
    score, loss = ("eval_accuracy",), ("train_loss", "eval_loss")
    epoch, rates = "epoch", _rates(runs)
    everything = [
        Chart(
            "Score of the evaluation by time", "minutes", _curves(runs, score, _minutes), True, False, tuple(targets)
        ),
        Chart("Score of the evaluation by epoch", epoch, _curves(runs, score, _epoch), targets=tuple(targets)),
        Chart("Loss: training solid, evaluation dashed", epoch, _curves(runs, loss, _epoch), ylog=True),
        Chart("samples/s per rank, without evaluation", epoch, rates, ylog=_wide(rates)),
        Chart("Learning rate", "update", _curves(runs, ("learning_rate",), _update)),
    ]
    return [chart for chart in map(_drawable, everything) if chart.curves]


def scaling_chart(runs: list[RunLog]) -> Chart:
    """Speed-up over nodes or ranks with the ideal line; runs: one of scaling_groups."""
    unit, _, rates = scaling_points(runs)
    first, sizes = min(rates), list(rates)
    return Chart(
        f"{printable(scaling_title(runs))}: speed-up of samples/s",
        unit,
        [
            Curve("ideal", _NO_RUN, sizes, [size / first for size in sizes], dashed=True),
            Curve("measured", 0, sizes, [rate / rates[first] for rate in rates.values()]),
        ],
        xlog=True,
        ylog=True,
        ticks=tuple(sizes),
    )


def as_data(chart: Chart) -> dict[str, Any]:
    return {**chart._asdict(), "curves": [curve._asdict() for curve in chart.curves]}


def _minutes(run: RunLog, event: Event) -> Optional[float]:
    seconds = run.between(run.first("run_start"), event)
    return None if seconds is None else seconds / 60


def _epoch(run: RunLog, event: Event) -> Optional[float]:
    return event.epoch if run.counts_epochs else None


def _update(run: RunLog, event: Event) -> Optional[float]:
    return event.step


def _curves(
    runs: list[RunLog], keys: tuple[str, ...], abscissa: Callable[[RunLog, Event], Optional[float]]
) -> list[Curve]:
    """A curve a run and key; the first key's is solid, the second's dashed."""
    curves = []
    for number, run in enumerate(runs):
        for key in keys:
            points = [(abscissa(run, event), finite(event.value)) for event in run.all(key)]
            name = f"{printable(run.name)}, {'training' if key.startswith('train') else 'evaluation'}"
            label = name if len(keys) > 1 else printable(run.name)
            known = [(x, y) for x, y in points if x is not None and y is not None]
            curves.append(_curve(label, number, known, dashed=key != keys[0]))
    return curves


def _rates(runs: list[RunLog]) -> list[Curve]:
    """Of each finished epoch, as the verdict's samples/s: not every program logs a throughput."""
    curves = []
    for number, run in enumerate(runs):
        points: Points = [
            (each.epoch, each.samples / (each.seconds - each.evaluation_seconds) / run.ranks)
            for each in run.epochs()
            if each.epoch is not None and each.samples and run.ranks and each.seconds > each.evaluation_seconds
        ]
        curves.append(_curve(printable(run.name), number, points))
    return curves


def _curve(name: str, run: int, points: Points, *, dashed: bool = False) -> Curve:
    """Rising in x, several points of one x as their mean, thinned out to _POINTS and the last."""
    alike = defaultdict(list)
    for x, y in points:
        alike[x].append(y)
    mean = [(x, sum(alike[x]) / len(alike[x])) for x in sorted(alike)]
    step = -(-len(mean) // _POINTS) or 1
    kept = mean[::step] + ([mean[-1]] if (len(mean) - 1) % step else [])
    return Curve(name, run, [_short(x) for x, _ in kept], [_short(y) for _, y in kept], dashed)


def _short(value: float) -> float:
    """To six figures: a page is read, not computed with."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _wide(curves: list[Curve]) -> bool:
    """Whether values differ so much that a plain axis would hide the smaller ones."""
    values = [y for curve in curves for y in curve.y if y >= _LEAST]
    return bool(values) and max(values) > 20 * min(values)


def _drawable(chart: Chart) -> Chart:
    """Without what a logarithmic axis cannot show, and without empty curves."""

    def shown(value: float, logarithmic: bool) -> bool:
        return value >= _LEAST or not logarithmic

    def positive(curve: Curve) -> Curve:
        kept = [(x, y) for x, y in zip(curve.x, curve.y) if shown(x, chart.xlog) and shown(y, chart.ylog)]
        return curve._replace(x=[x for x, _ in kept], y=[y for _, y in kept])

    return chart._replace(curves=[curve for curve in map(positive, chart.curves) if curve.x])

"""MLPerf result logs, ours and other programs', to the figures that people publish.

Files are read by common.report.log_files. A figure whose events are missing is None, never guessed, and what is odd
about a log is listed in `problems`. Keys: MLPerf logging's, as in the published result logs of MLPerf HPC v3.0.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from common.cli.registry import Benchmark, benchmarks
from common.runs import records

RUN_LOG, RECORDS = "mlperf.log", "metrics.jsonl"  # of a run folder
PRUNED = "pruned_results"  # MLPerf's folder of instances that a throughput result leaves out


@dataclass(frozen=True)
class Event:
    line: int
    ms: int  # since 1970
    key: str
    value: Any
    metadata: dict

    @property
    def epoch(self) -> Optional[int]:
        return _whole(self.metadata.get("epoch_num", self.metadata.get("epoch")))

    @property
    def step(self) -> Optional[int]:
        return _whole(self.metadata.get("step_num", self.metadata.get("step")))


class EpochTimes(NamedTuple):
    """A finished epoch. seconds: with evaluation. samples: trained on in it; None where the log does not say."""

    epoch: Optional[int]
    seconds: float
    evaluation_seconds: float
    samples: Optional[int]


@dataclass
class RunLog:
    """One run of a log file, and its figures. Times in seconds."""

    name: str
    path: Path
    events: list
    problems: list = field(default_factory=list)

    def __post_init__(self):
        self._by_key: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            self._by_key[event.key].append(event)
        self._back = [b.line for a, b in zip(self.events, self.events[1:]) if b.ms < a.ms]
        for earlier, later in zip(self.events, self.events[1:]):
            if later.ms < earlier.ms:
                self.problems.append(
                    f"line {later.line}: the clock steps back by {(earlier.ms - later.ms) / 1000:g} s; times across it "
                    "are left out"
                )
        last = self.events[-1]
        if self.first("run_start") and not self.first("run_stop"):
            self.problems.append(f"breaks off: no run_stop; the last event is {last.key} in line {last.line}")
        elif not self.first("run_start"):
            self.problems.append("has no run_start: no run was timed")
        start = self.first("epoch_start")
        if self.resumed and start is not None:
            self.problems.append(
                f"begins in epoch {start.epoch} after update {start.step}: resumed, times of the whole are not known"
            )
        if not self.counts_epochs:
            numbers = ", ".join(str(each.epoch) for each in self.all("epoch_start")[:3])
            self.problems.append(f"epoch_num counts no epochs ({numbers} ...): figures by epoch are left out")

    def all(self, key: str) -> list:
        return list(self._by_key.get(key, ()))

    def first(self, key: str) -> Optional[Event]:
        return next(iter(self._by_key.get(key, ())), None)

    def value(self, *keys: str) -> Any:
        """The value of the first of these keys that the log has."""
        return next((event.value for event in map(self.first, keys) if event and event.value is not None), None)

    def number(self, *keys: str) -> Optional[float]:
        """The first of these keys' values that is a finite number."""
        return next(
            (n for n in (finite(event.value) for event in map(self.first, keys) if event) if n is not None), None
        )

    def whole(self, *keys: str) -> Optional[int]:
        """The same, of whole numbers above 0."""
        value = _whole(self.number(*keys))
        return value if value is not None and value > 0 else None

    def between(self, start: Optional[Event], end: Optional[Event]) -> Optional[float]:
        """Seconds, or None if one is missing or the clock steps back between them."""
        if start is None or end is None or any(start.line < line <= end.line for line in self._back):
            return None
        return (end.ms - start.ms) / 1000

    def interval(self, key: str) -> Optional[float]:
        return self.between(self.first(f"{key}_start"), self.first(f"{key}_stop"))

    # What the run was.

    @property
    def benchmark(self) -> Optional[Benchmark]:
        """None for one that is not of this project."""
        return benchmarks().get(str(self.value("submission_benchmark")))

    @property
    def ranks(self) -> Optional[int]:
        per_node = self.whole("accelerators_per_node")
        ranks = self.whole("number_of_ranks")
        return self.nodes * per_node if ranks is None and self.nodes and per_node else ranks

    @property
    def pruned(self) -> bool:
        """Whether its submitter left it out of a throughput result."""
        return PRUNED in self.path.parts

    @cached_property
    def counts_epochs(self) -> bool:
        """Whether epoch_num counts epochs one by one, rather than samples, as some programs have it."""
        numbers = [event.epoch for event in self.all("epoch_start")]
        return all(later == earlier + 1 for earlier, later in zip(numbers, numbers[1:]) if None not in (earlier, later))

    @property
    def resumed(self) -> bool:
        """Whether it goes on with a run that had begun elsewhere."""
        start = self.first("epoch_start")
        return start is not None and ((self.counts_epochs and (start.epoch or 0) > 1) or (start.step or 0) > 0)

    @property
    def nodes(self) -> Optional[int]:
        return self.whole("number_of_nodes")

    @property
    def global_batch(self) -> Optional[int]:
        """Samples of one forward pass of all ranks: the reference logs it without accumulation."""
        return self.whole("global_batch_size")

    @property
    def samples_per_update(self) -> Optional[int]:
        """The same with accumulation."""
        return self.global_batch * self.accumulation if self.global_batch else None

    @property
    def accumulation(self) -> int:
        return self.whole("gradient_accumulation_frequency") or 1

    @property
    def local_batch(self) -> Optional[float]:
        if not self.global_batch or not self.ranks:
            return None
        local = self.global_batch / self.ranks
        return int(local) if local == int(local) else local

    def last_record(self, kind: str) -> Optional[dict]:
        """The last of this kind in the run folder that the log lies in; None for a log alone. Raises UserError."""
        return records.last(self.path.with_name(RECORDS), kind) if self.path.name == RUN_LOG else None

    # What came of it.

    @property
    def status(self) -> Optional[str]:
        """Of run_stop, such as success or aborted."""
        stop = self.first("run_stop")
        return None if stop is None or stop.metadata.get("status") is None else str(stop.metadata["status"])

    @property
    def ending(self) -> Optional[str]:
        """The status in words, with that of an inference that did not do all of its work."""
        failed = any(stop.metadata.get("status") not in (None, "success") for stop in self.all("inference_stop"))
        return "success, inference with failures" if failed and self.status == "success" else self.status

    def epochs(self) -> list[EpochTimes]:
        """The epochs that were finished, the last of them perhaps cut short by the run's end."""
        ends = {event.epoch: event for event in self.all("epoch_stop")}
        starts = self.all("epoch_start")
        finished = []
        for start in starts:
            end = ends.get(start.epoch)
            seconds = self.between(start, end)
            if seconds is None or end is None:
                continue
            pauses = [
                self.between(a, next((b for b in self.all("eval_stop") if b.line > a.line), None)) or 0.0
                for a in self.all("eval_start")
                if start.line < a.line < end.line
            ]
            samples = self._samples(start, end, last=start is starts[-1])
            finished.append(EpochTimes(start.epoch, seconds, sum(pauses), samples))
        return finished

    def _samples(self, start: Event, end: Event, *, last: bool) -> Optional[int]:
        """Trained on between an epoch's start and end: updates times batch, at most the data set; without updates the
        data set, unless the run may have ended within the epoch."""
        whole, batch = self.whole("train_samples"), self.samples_per_update
        steps = [event.step for event in self.events if start.line <= event.line <= end.line and event.step is not None]
        if start.step is not None and batch and steps:
            trained = (max(steps) - start.step) * batch
            return min(trained, whole) if whole and self.counts_epochs else trained
        return whole if self.counts_epochs and not last else None

    def evaluations(self) -> list:
        """Events whose value is a score."""
        return [event for event in self.all("eval_accuracy") if finite(event.value) is not None]

    def reached(self, target: Optional[float]) -> Optional[Event]:
        """The first evaluation at the target."""
        return next((e for e in self.evaluations() if target is not None and e.value >= target), None)

    def time_to_epochs(self, count: int) -> Optional[float]:
        """From the start of epoch 1 to the end of epoch `count`."""
        if self.resumed or not self.counts_epochs:
            return None
        start = next((event for event in self.all("epoch_start") if event.epoch == 1), None)
        return self.between(start, next((event for event in self.all("epoch_stop") if event.epoch == count), None))

    def samples_per_second(self, training_only: bool = False) -> Optional[float]:
        """Over the finished epochs whose samples are known, with or without the time of evaluations."""
        known = [epoch for epoch in self.epochs() if epoch.samples is not None]
        seconds = sum(each.seconds - (each.evaluation_seconds if training_only else 0.0) for each in known)
        samples = sum(each.samples or 0 for each in known)
        return samples / seconds if samples and seconds > 0 else None

    def logged_samples_per_second(self) -> Optional[float]:
        """The median of the throughputs that the program itself logged."""
        stats = [event.value for event in self.all("tracked_stats") if isinstance(event.value, dict)]
        rates = [rate for rate in (finite(value.get("throughput")) for value in stats) if rate is not None]
        return float(np.median(rates)) if rates else None


def finite(value: Any) -> Optional[float]:
    """A finite number of a size that occurs, else None; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e18:
        return None
    return value


def _whole(value: Any) -> Optional[int]:
    number = finite(value)
    return None if number is None or number != int(number) else int(number)

"""A run from start to report, the same for every benchmark: folder, MLPerf log, timed part, tracking.

The intervals in the MLPerf log follow one rule. `init` lasts from the start of the program until training is ready to
begin; `run` contains training and its evaluations and nothing else; what follows (saving networks, masks, pictures, the
report) is in neither. After a failure, an open `run` ends with the status "aborted", and a run that fails before its
timed part leaves no folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Optional, Protocol

from common import distributed
from common.cli.registry import Benchmark
from common.config.settings import Settings
from common.distributed import Placement
from common.errors import UserError
from common.report import one_run
from common.runs.folder import NoRun, Run, open_run
from common.runs.mlperf import Log
from common.runs.settings import OutputSettings, SubmissionSettings
from common.tracking import live, weights_biases


class RunSettings(Protocol):
    """The sections of a benchmark's settings that a session needs."""

    @property
    def output(self) -> OutputSettings: ...

    @property
    def submission(self) -> SubmissionSettings: ...


class Session:
    """An open run.

    Attributes:
        run: its folder.
        log: its MLPerf log.
        threads: compute threads of this rank.
        devices: the devices of all ranks, in words.
        began: whether the timed part has begun.
    """

    def __init__(self, run: Run, log: Log, threads: int, *, devices: str = "CPUs", wandb: str = "off"):
        """Put together what a run needs; `wandb` is the setting output.wandb."""
        self.run, self.log, self.threads, self.devices = run, log, threads, devices
        self.began = False
        self._wandb = wandb
        self._tracking: Optional[live.Live] = None  # on rank 0 only

    @contextmanager
    def timed(self, *, resumable: bool = True) -> Iterator["Outcome"]:
        """Time the part of the run that MLPerf counts: end `init`, and log `run` with the outcome's status.

        Args:
            resumable: whether what the run has made is of use before this part ends; otherwise a failure in it leaves
                no folder.
        """
        outcome = Outcome()
        if self._wandb != "off":
            distributed.on_root(self._start_tracking)
        if resumable:
            self._begin()
        self.run.say(f"run folder: {self.run.path}")
        self.log.end("init")
        self.log.start("run")
        try:
            yield outcome
        except BaseException:
            with suppress(UserError):  # what ended the run is what the user has to know
                self.log.end("run", status="aborted")
            raise
        self.log.end("run", status="success" if outcome.success else "aborted")
        self._begin()

    def _begin(self) -> None:
        self.began = True
        self.run.begin()

    def _start_tracking(self) -> None:
        self._tracking = live.start(self.run, self._wandb)

    def finish_tracking(self, *, failed: bool) -> None:
        """Close the tracker, if there is one; `failed`: the run ended with an error."""
        if self._tracking:
            self._tracking.finish(failed=failed)


def unrecorded(placement: Placement) -> Session:
    """Return a session for a dry run, which prints its lines but writes no files."""
    return Session(NoRun(), Log(None), placement.threads, devices=placement.devices)


class Outcome:
    """The result of a timed part that was not interrupted."""

    success = True  # False if a target was not reached


@contextmanager
def open_session(
    command: str, benchmark: Benchmark, settings: RunSettings, placement: Placement, resume: Optional[str] = None
) -> Iterator[Session]:
    """Open a run, and write its report when the block ends. A collective call.

    Args:
        command: command of the benchmark, such as train.
        benchmark: the benchmark to run.
        settings: the run's settings.
        placement: this rank's threads and devices.
        resume: the run to resume, as common.runs.folder.open_run takes it.

    Raises:
        UserError: if the run cannot be opened, or its tracker cannot be used.
    """
    assert isinstance(settings, Settings)
    wandb = settings.output.wandb
    distributed.check_same("setting of output.wandb", wandb, "give all nodes the same file and overrides")
    if wandb != "off":
        distributed.on_root(_check_wandb)
    with open_run(settings, settings.output, f"{benchmark.name} {command}", resume) as run:
        log = Log(run / "mlperf.log")
        session = Session(run, log, placement.threads, devices=placement.devices, wandb=wandb)
        log.start("init")
        # A script clears caches before the job starts; a program cannot empty other nodes' page caches.
        log.event("cache_clear", False)
        # One GPU for each rank of a node. Rank 0 may see its own GPU only, or more GPUs than are used.
        log.submission(benchmark.name, settings.submission, distributed.local_size() if placement.gpu else 0)
        try:
            yield session
        except BaseException:
            session.finish_tracking(failed=True)
            if not session.began:
                run.discard()
            raise
        session.finish_tracking(failed=False)
        if distributed.is_root():
            one_run.report(run.path, benchmark)
        distributed.barrier()


def _check_wandb() -> None:
    """Raise UserError if the package cannot be used, before anything is computed."""
    try:
        weights_biases.load()
    except UserError as error:
        raise UserError(f"output.wandb: {error}, or set output.wandb=off") from error

"""A run from its start to its report, the same way for every benchmark: folder, MLPerf log, timed part, exit.

The log's intervals follow one rule. `init` is open from the start of the program until training is ready to begin;
`run` holds training and its evaluations and nothing else; what comes after (saving networks, masks, pictures, the
report) lies outside both. A failure closes what is open with the status "aborted", and a run that fails before its
timed part leaves no folder behind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
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
    """What a session needs of a benchmark's settings."""

    @property
    def output(self) -> OutputSettings: ...

    @property
    def submission(self) -> SubmissionSettings: ...


class Session:
    """An open run. `run` is its folder, `log` its MLPerf log, `threads` this rank's compute threads, `devices` those
    of all ranks in words."""

    def __init__(self, run: Run, log: Log, threads: int, *, devices: str = "CPUs", wandb: str = "off"):
        """wandb: as output.wandb has it."""
        self.run, self.log, self.threads, self.devices = run, log, threads, devices
        self.began = False
        self._wandb = wandb
        self._tracking: Optional[live.Live] = None  # rank 0's

    @contextmanager
    def timed(self) -> Iterator["Outcome"]:
        """The part of the run that counts: ends `init`, and logs `run` with the outcome's status."""
        outcome = Outcome()
        if self._wandb != "off":
            distributed.on_root(self._start_tracking)
        self.began = True
        self.run.say(f"run folder: {self.run.path}")
        self.log.end("init")
        self.log.start("run")
        try:
            yield outcome
        except BaseException:
            self.log.end("run", status="aborted")
            raise
        self.log.end("run", status="success" if outcome.success else "aborted")

    def _start_tracking(self) -> None:
        self._tracking = live.start(self.run, self._wandb)

    def finish_tracking(self, *, failed: bool) -> None:
        if self._tracking:
            self._tracking.finish(failed=failed)


def unrecorded(placement: Placement) -> Session:
    """For what is only tried out: says what it says, and leaves nothing."""
    return Session(NoRun(), Log(None), placement.threads, devices=placement.devices)


class Outcome:
    """What the log says of a timed part that came to its end; a target that was missed is no success."""

    success = True


@contextmanager
def open_session(
    command: str, benchmark: Benchmark, settings: RunSettings, placement: Placement, resume: Optional[str] = None
) -> Iterator[Session]:
    """Open a run, and make its report when the block is done. A collective call.

    command: of the benchmark's command line, such as train. resume: as common.runs.folder.open_run takes it.
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
        # Made with a script before the job starts; a program cannot empty other nodes' page caches.
        log.event("cache_clear", False)
        # Ranks of a node, one GPU each; what rank 0 sees may be its own GPU alone, or more than are used.
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
    """Before anything is computed. Raises UserError."""
    try:
        weights_biases.load()
    except UserError as error:
        raise UserError(f"output.wandb: {error}, or set output.wandb=off") from error

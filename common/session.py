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
from common.benchmarks import Benchmark
from common.config.settings import Settings
from common.distributed import Placement
from common.report import one_run
from common.runs.folder import Run, open_run
from common.runs.mlperf import Log
from common.runs.settings import OutputSettings, SubmissionSettings


class RunSettings(Protocol):
    """What a session needs of a benchmark's settings."""

    @property
    def output(self) -> OutputSettings: ...

    @property
    def submission(self) -> SubmissionSettings: ...


class Session:
    """An open run. `run` is its folder, `log` its MLPerf log, `threads` this rank's compute threads."""

    def __init__(self, run: Run, log: Log, threads: int):
        self.run, self.log, self.threads = run, log, threads
        self.began = False

    @contextmanager
    def timed(self) -> Iterator["Outcome"]:
        """The part of the run that counts: ends `init`, and logs `run` with the outcome's status."""
        outcome = Outcome()
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
    run = open_run(settings, settings.output, f"{benchmark.name} {command}", resume)
    log = Log(run / "mlperf.log")
    session = Session(run, log, placement.threads)
    log.start("init")
    # Made with a script before the job starts; a program cannot empty other nodes' page caches.
    log.event("cache_clear", False)
    # Ranks of a node, one GPU each; what rank 0 sees may be its own GPU alone, or more than are used.
    log.submission(benchmark.name, settings.submission, distributed.local_size() if placement.gpu else 0)
    try:
        yield session
    except BaseException:
        if not session.began:
            run.discard()
        raise
    if distributed.is_root():
        one_run.report(run.path)
    distributed.barrier()

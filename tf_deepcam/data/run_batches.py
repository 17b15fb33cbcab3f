"""The batches that a run trains on: of the samples in their root folder or, with data.stage_dir, of staged copies."""

import time
from typing import Callable, NamedTuple

from common import distributed
from common.data import duplicates
from common.data.batches import Batches
from common.errors import UserError
from common.session import Session
from common.training.settings import BatchSizes
from tf_deepcam import records
from tf_deepcam.config import Config
from tf_deepcam.data.sample_batches import BatchPair, Samples, sample_batches
from tf_deepcam.data.staging import Staging


class _Staged(NamedTuple):
    files: int
    bytes: int
    seconds: float

    def line(self, config: Config) -> str:
        return (
            f"{self.files} files, {self.bytes / 1e9:.3f} GB, staged to {config.data.stage_dir} in {self.seconds:.1f} s"
        )


class _Plan(NamedTuple):
    """What is to be staged."""

    staging: Staging
    staged: BatchPair  # batches of staged samples, which may not exist yet
    sources: BatchPair  # batches of the files that they are made from

    def carry_out(self, threads: int) -> _Staged:
        """Stage this rank's share. A collective call."""
        started = time.perf_counter()
        own = [
            source.files[number]
            for source, staged in zip(self.sources, self.staged)
            for number in self.staging.own_share(staged)
        ]
        files = sum(distributed.gather_objects(self.staging.stage(own, threads)))
        return _Staged(files, files * self.staging.bytes, time.perf_counter() - started)


def _plan(config: Config, samples: Samples, began_on: int = 0) -> _Plan:
    staging = Staging(config.data, samples.batches.training.arrays[0].shape, samples.read, began_on)
    staged = BatchPair(*(staging.batches(part, seed=config.training.seed) for part in samples.batches))
    return _Plan(staging, staged, samples.batches)


def stage(config: Config, threads: int) -> int:
    """Run the command `stage`: stage what `train` with these settings on as many ranks would. A collective call.

    Returns:
        The exit code.

    Raises:
        UserError: if data.stage_dir is not set, or a sample cannot be read or staged.
    """
    if not config.data.stage_dir:
        raise UserError("data.stage_dir is not set: the node-local folder to stage to", on_all_ranks=True)
    threads = config.data.max_inter_threads or threads
    sizes = BatchSizes(1, 1, distributed.size(), 1)
    samples = sample_batches(config.data, sizes, seed=config.training.seed, threads=threads)
    staged = _plan(config, samples).carry_out(threads)
    if distributed.is_root():
        for problem in samples.skipped.values():
            print(f"skipped: {problem}")
        print(staged.line(config))
    distributed.barrier()
    return 0


class RunBatches(NamedTuple):
    """Batches for training and validation."""

    training: Batches
    held_out: Batches
    stage: Callable[[], None]  # to be called before the first batch is read


def batches_of_run(config: Config, session: Session, sizes: BatchSizes) -> RunBatches:
    """Make a run's batches, of staged samples if data.stage_dir is set. A collective call.

    Raises:
        UserError: as sample_batches does.
    """
    threads, run = config.data.max_inter_threads or session.threads, session.run
    if config.data.on_bad_sample == "skip":
        run.say("reading every sample once, to leave out bad ones")
    samples = sample_batches(config.data, sizes, seed=config.training.seed, threads=threads)
    for path, problem in samples.skipped.items():
        run.say(f"skipped: {problem}")
        run.record(records.Skipped(path, problem))
    session.log.event("skipped_samples", len(samples.skipped))
    copies = duplicates.in_words(samples.batches.training.files, samples.batches.held_out.files, "samples")
    if copies:
        run.say(copies)
    if not config.data.stage_dir:
        return RunBatches(*samples.batches, lambda: None)
    plan = _plan(config, samples, sizes.began_on)

    def stage() -> None:
        run.say(f"staging to {config.data.stage_dir}")
        session.log.start("staging")
        staged = plan.carry_out(threads)
        session.log.end("staging")
        run.say(staged.line(config))
        run.record(records.Staged(staged.files, staged.bytes, staged.seconds))

    return RunBatches(*plan.staged, stage)

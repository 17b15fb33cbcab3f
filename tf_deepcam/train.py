"""Training and evaluation on a root folder's train/ and validation/ samples."""

import time
from dataclasses import replace
from typing import Callable, NamedTuple

from common import distributed
from common.errors import UserError
from common.optim import optimizers
from common.runs.folder import Run
from common.session import Session
from common.training import loop
from common.training.settings import BatchSizes, batch_sizes
from common.training.step import prepare
from tf_deepcam import batch_statistics, pictures
from tf_deepcam.config import Config
from tf_deepcam.data.sample_batches import BatchPair, Samples, sample_batches
from tf_deepcam.data.staging import Staging
from tf_deepcam.network import weights
from tf_deepcam.rules import run_type
from tf_deepcam.task import SCORE, make_task


def train(config: Config, session: Session) -> dict:
    """Train, save model.keras and model.npz in the run folder, and return the summary of the training.

    Raises UserError on bad data.
    """
    settings, run, ranks = config.training, session.run, distributed.size()
    prepare(settings)
    sizes = batch_sizes(settings, ranks)
    batches, stage = _data(config, session, sizes)
    if settings.max_validation_steps:
        batches.validation.keep_first(settings.max_validation_steps)
    timed = config.submission.ruleset != "3.0.0"  # before MLPerf HPC v3.0 staging was part of the run
    if not timed:
        stage()
    task = make_task(config, batches, session.threads)
    if config.model.checkpoint and not run.resumed:
        distributed.on_root(lambda: weights.load(task.network, config.model.checkpoint))
    optimizer = optimizers.build(
        config.optimizer, config.schedule, ranks=ranks, scale_loss=settings.precision == "mixed_float16"
    )
    _log_settings(config, session, batches, sizes)
    if config.rules == "esif_baseline":
        run.say(
            "rules: esif_baseline runs the baseline's settings; by ESIF's page a baseline is a fork of the PyTorch "
            "program, so report this run as ported (rules: esif_ported), or optimized"
        )
    _say_batch_statistics(config, run)
    height, width, _ = batches.training.arrays[0].shape
    run.say(
        f"training on {batches.training.samples} samples of {height} x {width}, {batches.validation.samples} for "
        f"validation; {ranks} ranks x {session.threads} threads, global batch {sizes.total}, "
        f"{batches.training.steps_per_epoch} updates an epoch, {settings.precision}; "
        f"{task.gflop_per_sample / 3:.1f} GFLOP a forward pass"
    )
    if timed:
        task = replace(task, stage=stage)
    summary = loop.train(task, optimizer, settings, session, tensorboard=config.output.tensorboard)
    if distributed.is_root():
        task.network.save(run / "model.keras")
        weights.save(task.network, run / "model.npz")
        pictures.draw_samples(task.network, batches.validation, config, run)
    run.record("training", **summary)
    if settings.target_iou and not summary["target_reached"]:
        best = summary["evaluation"].get(SCORE, float("nan"))
        run.say(f"target not reached: iou {best:.4f} < {settings.target_iou} after {summary['epochs']:.0f} epochs")
    return summary


class _Plan(NamedTuple):
    """What is to be staged: batches of staged samples that may not be there yet, and of the files they are made of."""

    staging: Staging
    staged: BatchPair
    sources: BatchPair

    def carry_out(self, threads: int) -> "_Staged":
        """Stage this rank's share. A collective call."""
        started = time.perf_counter()
        own = [
            source.files[number]
            for source, staged in zip(self.sources, self.staged)
            for number in self.staging.own_share(staged)
        ]
        files = sum(distributed.gather_objects(self.staging.stage(own, threads)))
        return _Staged(files, files * self.staging.bytes, time.perf_counter() - started)


class _Staged(NamedTuple):
    files: int
    bytes: int
    seconds: float

    def line(self, config: Config) -> str:
        return (
            f"{self.files} files, {self.bytes / 1e9:.3f} GB, staged to {config.data.stage_dir} in {self.seconds:.1f} s"
        )


def _plan(config: Config, samples: Samples) -> _Plan:
    staging = Staging(config.data, samples.batches.training.arrays[0].shape, samples.read)
    staged = BatchPair(*(staging.batches(part, seed=config.training.seed) for part in samples.batches))
    return _Plan(staging, staged, samples.batches)


def stage(config: Config, threads: int) -> int:
    """The command: stage what `train` with these settings on as many ranks would stage. A collective call."""
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


class _Data(NamedTuple):
    """Batches for training and validation, and what has to be done before the first of them is read."""

    batches: BatchPair
    stage: Callable[[], None]


def _data(config: Config, session: Session, sizes: BatchSizes) -> _Data:
    """Of the files or, with data.stage_dir, of what is staged first."""
    threads, run = config.data.max_inter_threads or session.threads, session.run
    if config.data.on_bad_sample == "skip":
        run.say("reading every sample once, to leave out bad ones")
    samples = sample_batches(config.data, sizes, seed=config.training.seed, threads=threads)
    for path, problem in samples.skipped.items():
        run.say(f"skipped: {problem}")
        run.record("skipped", file=path, why=problem)
    session.log.event("skipped_samples", len(samples.skipped))
    if not config.data.stage_dir:
        return _Data(samples.batches, lambda: None)
    plan = _plan(config, samples)

    def stage() -> None:
        run.say(f"staging to {config.data.stage_dir}")
        session.log.start("staging")
        staged = plan.carry_out(threads)
        session.log.end("staging")
        run.say(staged.line(config))
        run.record("staging", files=staged.files, bytes=staged.bytes, seconds=staged.seconds)

    return _Data(plan.staged, stage)


def _say_batch_statistics(config: Config, run: Run) -> None:
    settings, ranks = config.training, distributed.size()
    run.say(
        f"batch statistics over {batch_statistics.samples_per_statistic(settings, ranks)} samples (groups of "
        f"{batch_statistics.group_size(settings, ranks)} ranks)"
    )
    problem = batch_statistics.warning(settings, ranks)
    if problem:
        run.say(problem)


def _log_settings(config: Config, session: Session, batches: BatchPair, sizes: BatchSizes) -> None:
    """Under the keys of the published result logs."""
    settings = config.training
    values = {
        "rules": config.rules,
        "run_type": run_type(config.rules),
        "checkpoint": config.model.checkpoint or None,
        "seed": settings.seed,
        # As the reference logs it, without accumulation.
        "global_batch_size": sizes.local * distributed.size(),
        "batchnorm_group_size": batch_statistics.group_size(settings, distributed.size()),
        "batchnorm_group_stride": 1,
        "samples_per_statistic": batch_statistics.samples_per_statistic(settings, distributed.size()),
        "local_batch_size_validation": sizes.evaluation,
        "gradient_accumulation_frequency": settings.gradient_accumulation_frequency,
        "data_format": "staged" if config.data.stage_dir else "hdf5",
        "shuffle_mode": _shuffle_mode(config),
        "stage_copies": config.data.stage_copies if config.data.stage_dir else None,
        "precision_mode": settings.precision,
        "enable_jit": settings.xla,
        **optimizers.log_entries(config.optimizer, config.schedule, distributed.size()),
        "train_samples": batches.training.samples,
        "eval_samples": batches.validation.samples,
    }
    session.log.events(values)


def _shuffle_mode(config: Config) -> str:
    """global: every rank may get any sample in any epoch; local: those that its group of stage_copies ranks holds."""
    if config.data.stage_dir:
        return "global" if config.data.stage_copies == distributed.size() else "local"
    return "global" if config.data.cache == "none" else "local"

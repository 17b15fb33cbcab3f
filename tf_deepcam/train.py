"""Training and evaluation on a root folder's train/ and validation/ samples."""

from dataclasses import replace
from typing import NamedTuple

import tensorflow as tf

from common import distributed, keras_files
from common.optim import optimizers
from common.runs.folder import Run
from common.session import Session
from common.training import dry_run as one_update
from common.training import loop
from common.training.continuation import as_begun
from common.training.precision import in_words
from common.training.settings import BatchSizes, batch_sizes
from common.training.step import prepare
from common.training.task import Task
from tf_deepcam import batch_statistics, pictures
from tf_deepcam.config import Config
from tf_deepcam.data.run_batches import batches_of_run
from tf_deepcam.data.sample_batches import BatchPair
from tf_deepcam.network import reference_checkpoint, weights
from tf_deepcam.network.normalization import GroupBatchNormalization
from tf_deepcam.network.reference_checkpoint import Pace
from tf_deepcam.rules import run_type
from tf_deepcam.task import SCORE, make_task


class _Prepared(NamedTuple):
    """What a training is begun with. config: with the batch sizes for the ranks there are."""

    config: Config
    task: Task
    optimizer: tf.keras.optimizers.Optimizer
    batches: BatchPair


def _prepare(config: Config, session: Session) -> _Prepared:
    run, ranks = session.run, distributed.size()
    settings = as_begun(config.training, run)
    batch_statistics.check_groups(config.training, settings, ranks)
    config = config.model_copy(update={"training": settings})
    prepare(settings)
    sizes = batch_sizes(settings, ranks, run.began_on)
    batches, stage = batches_of_run(config, session, sizes)
    if settings.max_validation_steps:
        batches.validation.keep_first(settings.max_validation_steps)
    timed = config.submission.ruleset != "3.0.0"  # before MLPerf HPC v3.0 staging was part of the run
    if not timed:
        stage()
    task = make_task(config, batches, session.threads)
    optimizer = optimizers.build(
        config.optimizer, config.schedule, ranks=run.began_on, scale_loss=settings.precision == "mixed_float16"
    )
    _log_settings(config, session, batches, sizes)
    _introduce(config, session, task, batches, sizes)
    return _Prepared(config, replace(task, stage=stage) if timed else task, optimizer, batches)


def dry_run(config: Config, session: Session) -> None:
    """One update and one batch of validation of `train`, from where the samples lie; leaves no file."""
    data = config.data.model_copy(update={"stage_dir": "", "cache": "none"})
    config = config.model_copy(update={"data": data})
    config, task, optimizer, batches = _prepare(config, session)
    one_update.dry_run(task, batches.validation, optimizer, config.training, session)


def train(config: Config, session: Session) -> dict:
    """Train, save model.keras and model.npz in the run folder, and return the summary of the training.

    Raises UserError on bad data.
    """
    run, asked = session.run, config
    config, task, optimizer, batches = _prepare(asked, session)
    settings = config.training
    summary = loop.train(
        task,
        optimizer,
        settings,
        session,
        tensorboard=config.output.tensorboard,
        begin=lambda: _begin(asked, task, optimizer, run),
    )
    if distributed.is_root():
        keras_files.save(task.network, run / "model.keras")
        weights.save(task.network, run / "model.npz")
        pictures.draw_samples(task.network, batches.validation, config, run)
    run.record("training", **summary)
    if settings.target_iou and not summary["target_reached"]:
        best = summary["evaluation"].get(SCORE, float("nan"))
        run.say(f"target not reached: iou {best:.4f} < {settings.target_iou} after {summary['epochs']:.0f} epochs")
    return summary


def _begin(config: Config, task: Task, optimizer: tf.keras.optimizers.Optimizer, run: Run) -> int:
    """Set what model.checkpoint holds; returns the updates that lie behind it."""
    model, settings = config.model, config.training
    if not model.checkpoint:
        return 0
    if not model.checkpoint_resumes:
        weights.load(task.network, model.checkpoint)
        return 0
    found, path = reference_checkpoint.load(model.checkpoint)
    position = reference_checkpoint.from_reference(found, task.network, optimizer, config.optimizer, path)
    pace = Pace(settings.gradient_accumulation_frequency, task.batches.steps_per_epoch, settings.max_epochs)
    update = reference_checkpoint.updates_done(position, pace, path)
    run.say(f"going on from the reference's {path} with epoch {position.epoch + 1}, after update {update}")
    run.record("reference_checkpoint", step=update, file=str(path))
    return update


def _introduce(config: Config, session: Session, task: Task, batches: BatchPair, sizes: BatchSizes) -> None:
    """Say what is trained, on what, and what of it deserves a second look."""
    settings, ranks, say = config.training, distributed.size(), session.run.say
    height, width, _ = batches.training.arrays[0].shape
    say(
        f"training on {batches.training.samples} samples of {height} x {width}, {batches.validation.samples} for "
        f"validation; {ranks} ranks x {session.threads} threads on {session.devices}, global batch {sizes.total}, "
        f"{batches.training.steps_per_epoch} updates an epoch, {in_words(settings)}; "
        f"{task.gflop_per_sample / 3:.1f} GFLOP a forward pass"
    )
    if config.rules == "esif_baseline":
        say(
            "rules: esif_baseline runs the baseline's settings; by ESIF's page a baseline is a fork of the PyTorch "
            "program, so report this run as ported (rules: esif_ported), or optimized"
        )
    say(batch_statistics.line(settings, ranks))
    shared = sum(isinstance(layer, GroupBatchNormalization) for layer in task.network.layers)
    problem = batch_statistics.exchange_warning(shared, distributed.cycle_ms())
    if problem:
        say(problem)


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
        "tf32": settings.tf32,
        "enable_jit": settings.xla,
        **optimizers.log_entries(config.optimizer, config.schedule, session.run.began_on),
        "train_samples": batches.training.samples,
        "eval_samples": batches.validation.samples,
    }
    session.log.events(values)


def _shuffle_mode(config: Config) -> str:
    """global: every rank may get any sample in any epoch; local: those that its group of stage_copies ranks holds."""
    if config.data.stage_dir:
        return "global" if config.data.stage_copies == distributed.size() else "local"
    return "global" if config.data.cache == "none" else "local"

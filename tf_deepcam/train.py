"""Training on a root folder's train/ samples, evaluated on its validation/ samples."""

from dataclasses import replace

import tensorflow as tf

from common import distributed
from common.keras import files as keras_files
from common.keras.precision import in_words
from common.runs.folder import Run
from common.runs.kinds import Training
from common.session import Session
from common.training import dry_run as one_update
from common.training import loop
from common.training.assemble import Assembly, assemble
from common.training.settings import BatchSizes
from common.training.task import Task
from tf_deepcam import batch_statistics, pictures, records
from tf_deepcam.config import Config
from tf_deepcam.data.run_batches import RunBatches, batches_of_run
from tf_deepcam.network import reference_checkpoint, weights
from tf_deepcam.network.normalization import GroupBatchNormalization
from tf_deepcam.network.reference_checkpoint import Pace
from tf_deepcam.rules import run_type
from tf_deepcam.task import SCORE, make_task


def _assemble(initial: Config, session: Session) -> Assembly[Config, RunBatches]:
    def load(config: Config, sizes: BatchSizes) -> RunBatches:
        batch_statistics.check_groups(initial.training, config.training, distributed.size())
        return batches_of_run(config, session, sizes)

    def make(config: Config, batches: RunBatches) -> Task:
        if config.submission.ruleset != "3.0.0":  # before MLPerf HPC v3.0 staging was part of the timed run
            return replace(make_task(config, batches, session.threads), stage=batches.stage)
        batches.stage()
        return make_task(config, batches, session.threads)

    assembly = assemble(initial, session, load, make)
    _log_settings(assembly, session)
    _introduce(assembly, session)
    return assembly


def dry_run(config: Config, session: Session) -> None:
    """Try a few updates and one batch of validation of `train`, without staging; leaves no file."""
    data = config.data.model_copy(update={"stage_dir": "", "cache": "none"})
    config = config.model_copy(update={"data": data})
    one_update.dry_run(_assemble(config, session), session)


def train(config: Config, session: Session) -> Training:
    """Train, and save model.keras and model.npz in the run folder.

    Args:
        config: the settings as the user gave them.
        session: the open run.

    Returns:
        The record of the training.

    Raises:
        UserError: for data that cannot be trained on.
    """
    run, initial = session.run, config
    assembly = _assemble(initial, session)
    task, optimizer, config = assembly.task, assembly.optimizer, assembly.config
    settings = config.training
    training = loop.train(
        task,
        optimizer,
        settings,
        session,
        tensorboard=config.output.tensorboard,
        begin=lambda: _begin(initial, task, optimizer, run),
    )
    if distributed.is_root():
        keras_files.save(task.network, run / "model.keras")
        weights.save(task.network, run / "model.npz")
        pictures.draw_samples(task.network, assembly.data.held_out, config, run)
    run.record(training)
    if settings.target_iou and not training.target_reached:
        score = training.evaluation.get(SCORE, float("nan"))
        run.say(f"target not reached: iou {score:.4f} < {settings.target_iou} after {training.epochs:.0f} epochs")
    return training


def _begin(config: Config, task: Task, optimizer: tf.keras.optimizers.Optimizer, run: Run) -> int:
    """Load model.checkpoint, if set; return the number of updates that its training had done, if it is continued."""
    model, settings = config.model, config.training
    if not model.checkpoint:
        return 0
    if not model.checkpoint_resumes:
        weights.load(task.network, model.checkpoint)
        return 0
    content, path = reference_checkpoint.load(model.checkpoint)
    position = reference_checkpoint.from_reference(content, task.network, optimizer, config.optimizer, path)
    pace = Pace(settings.gradient_accumulation_frequency, task.batches.steps_per_epoch, settings.max_epochs)
    update = reference_checkpoint.updates_done(position, pace, path)
    run.say(f"continuing the reference's {path} with epoch {position.epoch + 1}, after update {update}")
    run.record(records.ReferenceCheckpoint(update, str(path)))
    return update


def _introduce(assembly: Assembly[Config, RunBatches], session: Session) -> None:
    """Print what is trained, on what, and warnings."""
    config, batches, task = assembly.config, assembly.data, assembly.task
    settings, ranks, say = config.training, distributed.size(), session.run.say
    height, width, _ = batches.training.arrays[0].shape
    say(
        f"training on {batches.training.samples} samples of {height} x {width}, {batches.held_out.samples} for "
        f"validation; {ranks} ranks x {session.threads} threads on {session.devices}, global batch "
        f"{assembly.sizes.total}, "
        f"{batches.training.steps_per_epoch} updates an epoch, {in_words(settings)}; "
        f"{task.gflop_per_sample / 3:.1f} GFLOP per forward pass"
    )
    if config.rules == "esif_baseline":
        say(
            "rules: esif_baseline runs the baseline's settings; by ESIF's page a baseline is a fork of the PyTorch "
            "program, so report this run as ported (rules: esif_ported) or optimized"
        )
    say(batch_statistics.describe(settings, ranks))
    shared = sum(isinstance(layer, GroupBatchNormalization) for layer in task.network.layers)
    warning = batch_statistics.exchange_warning(shared, distributed.cycle_ms())
    if warning:
        say(warning)


def _log_settings(assembly: Assembly[Config, RunBatches], session: Session) -> None:
    """Log DeepCAM's own settings under the keys of the published result logs."""
    config = assembly.config
    settings = config.training
    values = {
        "rules": config.rules,
        "run_type": run_type(config.rules),
        "checkpoint": config.model.checkpoint or None,
        "batchnorm_group_size": batch_statistics.group_size(settings, distributed.size()),
        "batchnorm_group_stride": 1,
        "samples_per_statistic": batch_statistics.samples_per_statistic(settings, distributed.size()),
        "local_batch_size_validation": assembly.sizes.evaluation,
        "data_format": "staged" if config.data.stage_dir else "hdf5",
        "shuffle_mode": _shuffle_mode(config),
        "stage_copies": config.data.stage_copies if config.data.stage_dir else None,
        "enable_jit": settings.xla,
    }
    session.log.events(values)


def _shuffle_mode(config: Config) -> str:
    """global: a rank may get any sample in any epoch; local: only those that its group of stage_copies ranks holds."""
    if config.data.stage_dir:
        return "global" if config.data.stage_copies == distributed.size() else "local"
    return "global" if config.data.cache == "none" else "local"

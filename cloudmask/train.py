"""Training on the patches of a folder of scenes."""

import json
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from cloudmask import baseline, reference_log
from cloudmask.config import Config
from cloudmask.task import TrainingData, make_task, training_data
from common import distributed, keras_files
from common.optim import optimizers
from common.runs.files import deliver
from common.runs.folder import Run
from common.session import Session
from common.training import dry_run as one_update
from common.training import loop
from common.training.continuation import as_begun
from common.training.precision import in_words
from common.training.settings import BatchSizes, batch_sizes
from common.training.step import prepare
from common.training.task import Task


class _Prepared(NamedTuple):
    """What a training is begun with. config: with the batch sizes for the ranks there are."""

    config: Config
    task: Task
    optimizer: tf.keras.optimizers.Optimizer
    data: TrainingData


def _prepare(config: Config, session: Session) -> _Prepared:
    run, ranks = session.run, distributed.size()
    settings = as_begun(config.training, run)
    config = config.model_copy(update={"training": settings})
    prepare(settings)
    sizes = batch_sizes(settings, ranks, run.began_on)
    data = training_data(config, sizes, session.threads)
    if settings.max_validation_steps:
        data.held_out.keep_first(settings.max_validation_steps)
    task = make_task(config, data, session.threads)
    optimizer = optimizers.build(
        config.optimizer, config.schedule, ranks=run.began_on, scale_loss=settings.precision == "mixed_float16"
    )
    _log_settings(config, session, data, sizes)
    session.run.say(
        f"training on {len(data.scenes)} scenes ({data.batches.samples} patches), {len(data.held_out_scenes)} scenes "
        f"held out ({data.held_out.samples} patches); {ranks} ranks x {session.threads} threads on {session.devices}, "
        f"global batch {sizes.total}, {data.batches.steps_per_epoch} updates an epoch, {in_words(settings)}"
    )
    return _Prepared(config, task, optimizer, data)


def dry_run(config: Config, session: Session) -> None:
    """One update and one held-out batch of `train`; leaves no file."""
    config = config.model_copy(update={"data": config.data.model_copy(update={"cache": "none"})})
    config, task, optimizer, data = _prepare(config, session)
    one_update.dry_run(task, data.held_out, optimizer, config.training, session)


def train(config: Config, session: Session) -> dict:
    """Train, save model.keras and saved_model/ in the run folder, and return the summary of the training.

    Raises UserError on bad data.
    """
    run = session.run
    config, task, optimizer, data = _prepare(config, session)
    rule = _baseline(config, data, run)
    summary = loop.train(task, optimizer, config.training, session, tensorboard=config.output.tensorboard)
    summary["time_per_epoch"] = summary["seconds"] / max(summary["epochs_run"], 1e-9)
    summary["scenes"] = len(data.scenes) + len(data.held_out_scenes)
    if distributed.is_root():
        _save(task.network, rule, run, config)
    run.record("training", **summary)
    reference_log.write(run, config, reference_log.training_line(config, summary))
    distributed.barrier()  # no rank goes on to inference before the model is there
    return summary


def _baseline(config: Config, data: TrainingData, run: Run) -> baseline.Threshold:
    run.say("fitting the threshold baseline")
    rule = baseline.fit(data.scenes, config.data, run.say)
    run.say(f"threshold baseline: cloud where {rule}, right on {rule.training_accuracy:.2%} of the training pixels")
    run.record("baseline", rule=str(rule), **rule.as_dict())
    return rule


def _log_settings(config: Config, session: Session, data: TrainingData, sizes: BatchSizes) -> None:
    settings = config.training
    values = {
        "seed": settings.seed,
        "network": config.model.network,
        "loss": config.loss.loss,
        # As the reference logs it, without accumulation.
        "global_batch_size": sizes.local * distributed.size(),
        "gradient_accumulation_frequency": settings.gradient_accumulation_frequency,
        "train_samples": data.batches.samples,
        "eval_samples": data.held_out.samples,
        **optimizers.log_entries(config.optimizer, config.schedule, session.run.began_on),
        "precision_mode": settings.precision,
        "tf32": settings.tf32,
    }
    session.log.events(values)


def _save(network: tf.keras.Model, rule: baseline.Threshold, run: Run, config: Config) -> None:
    (run / "baseline.json").write_text(json.dumps(rule.as_dict(), indent=1) + "\n", encoding="utf-8")
    keras_files.save(network, run / "model.keras")
    wanted = config.report.model_file
    suffix = Path(wanted).suffix
    if config.report.saved_model or (wanted and suffix not in (".keras", ".h5", ".hdf5")):
        network.save(run / "saved_model", save_format="tf")
    if wanted:
        source = run / ("model.keras" if suffix == ".keras" else "saved_model")
        if suffix in (".h5", ".hdf5"):
            source = run / "model.h5"
            network.save(source, save_format="h5")
        deliver(source, Path(wanted))

"""Training on patches of a folder of scenes."""

import json
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from cloudmask import baseline, records, reference_log
from cloudmask.config import Config
from cloudmask.task import TrainingData, make_task, training_data
from common import distributed
from common.data import duplicates
from common.keras import files as keras_files
from common.keras.precision import in_words
from common.runs.files import deliver, whole, write_text
from common.runs.folder import Run
from common.runs.kinds import Training
from common.session import Session
from common.training import dry_run as one_update
from common.training import loop
from common.training.assemble import Assembly, assemble


def _assemble(config: Config, session: Session) -> Assembly[Config, TrainingData]:
    assembly = assemble(
        config,
        session,
        lambda config, sizes: training_data(config, sizes, session.threads),
        lambda config, data: make_task(config, data, session.threads),
    )
    data = assembly.data
    session.log.events({"network": config.model.network, "loss": config.loss.loss})
    session.run.say(
        f"training on {len(data.scenes)} scenes ({data.training.samples} patches), {len(data.held_out_scenes)} scenes "
        f"held out ({data.held_out.samples} patches); {distributed.size()} ranks x {session.threads} threads on "
        f"{session.devices}, global batch {assembly.sizes.total}, {data.training.steps_per_epoch} updates an epoch, "
        f"{in_words(config.training)}"
    )
    copies = duplicates.in_words(data.scenes, data.held_out_scenes, "scenes")
    if copies:
        session.run.say(copies)
    return assembly


def dry_run(config: Config, session: Session) -> None:
    """Make a few updates and evaluate one held-out batch, as `train` would; leaves no file."""
    config = config.model_copy(update={"data": config.data.model_copy(update={"cache": "none"})})
    one_update.dry_run(_assemble(config, session), session)


def train(config: Config, session: Session) -> Training:
    """Train, and save model.keras and saved_model/ in the run folder.

    Returns:
        The record of the training, with the benchmark's "time_per_epoch" (seconds) and "scenes".

    Raises:
        UserError: if the data cannot be trained on.
    """
    run = session.run
    assembly = _assemble(config, session)
    config, data = assembly.config, assembly.data
    rule = _baseline(config, data, run)
    training = loop.train(
        assembly.task, assembly.optimizer, config.training, session, tensorboard=config.output.tensorboard
    )
    time_per_epoch = training.seconds / max(training.epochs_run, 1e-9)
    scenes = len(data.scenes) + len(data.held_out_scenes)
    training = replace(training, more={"time_per_epoch": time_per_epoch, "scenes": scenes})
    if distributed.is_root():
        _save(assembly.task.network, rule, run, config)
    run.record(training)
    reference_log.write(run, config, reference_log.training_line(config, scenes, time_per_epoch))
    distributed.barrier()  # no rank starts inference before the model is saved
    return training


def _baseline(config: Config, data: TrainingData, run: Run) -> baseline.Threshold:
    run.say("fitting the threshold baseline")
    rule = baseline.fit(data.scenes, config.data, run.say)
    run.say(f"threshold baseline: cloud where {rule}, right on {rule.training_accuracy:.2%} of the training pixels")
    run.record(records.Baseline(str(rule), **rule.as_dict()))
    return rule


def _save(network: tf.keras.Model, rule: baseline.Threshold, run: Run, config: Config) -> None:
    write_text(run / "baseline.json", json.dumps(rule.as_dict(), indent=1) + "\n")
    keras_files.save(network, run / "model.keras")
    copy = config.report.model_file
    suffix = Path(copy).suffix
    if config.report.saved_model or (copy and suffix not in (".keras", ".h5", ".hdf5")):
        with whole(run / "saved_model") as folder:
            network.save(folder, save_format="tf")
    if copy:
        source = run / ("model.keras" if suffix == ".keras" else "saved_model")
        if suffix in (".h5", ".hdf5"):
            source = run / "model.h5"
            with whole(source) as file:
                network.save(file, save_format="h5")
        deliver(source, Path(copy))

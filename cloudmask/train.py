"""Training on the patches of a folder of scenes."""

import json
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from cloudmask import baseline
from cloudmask.config import Config
from cloudmask.data import scenes as data
from cloudmask.network import unet as model
from cloudmask.scores import BinaryCounts
from common import distributed
from common.data.batches import Batches
from common.errors import UserError
from common.optim import optimizers
from common.runs.folder import Run, deliver
from common.runs.mlperf import Log
from common.training import loop as training

SCORE = "pixel_accuracy"


def objective(batch: tuple, probability: tf.Tensor) -> dict:
    """Binary cross entropy and pixel accuracy over the pixels that have weight, as (sum, weight) a pixel of the batch.

    batch: (image, cloud, weight); probability: [batch, height, width, 1] float32.
    """
    truth, weight = tf.cast(batch[1], tf.float32), tf.cast(batch[2], tf.float32)
    # Keras' own formula and clipping (1e-7), so that losses compare with the reference's.
    entropy = tf.keras.backend.binary_crossentropy(truth, probability)
    right = tf.cast((probability > 0.5) == (truth > 0.5), tf.float32)
    share = tf.reduce_mean(weight)
    return {
        "loss": (tf.reduce_mean(entropy * weight), share),
        SCORE: (tf.reduce_mean(right * weight), share),
    }


def evaluate(network: tf.keras.Model, forward, batches: Batches, threads: int, threshold: float = 0.5) -> dict:
    """Scores over all samples of `batches` on all ranks. A collective call.

    Returns BinaryCounts.scores() with the log loss under "loss".
    """

    def measure(batch: tuple) -> np.ndarray:
        image, cloud, weight = batch
        return BinaryCounts.of(np.asarray(forward(image)), cloud.numpy(), weight.numpy(), threshold).as_array()

    sums = training.sum_over_batches(batches, measure, len(BinaryCounts().as_array()), threads)
    scores = BinaryCounts.from_array(sums).scores()
    return {"loss": scores.pop("log_loss"), **scores}


def train(config: Config, run: Run, log: Log, threads: int) -> dict:
    """Train, save model.keras and saved_model/ in the run folder, and return the summary of the training.

    The MLPerf log's run interval must be open. Raises UserError on bad data.
    """
    settings = config.training
    training.prepare(settings)
    scenes = data.list_scenes(config.data.train_dir, config.data.max_scenes)
    training_scenes, held_out = data.split(scenes, config.data)
    if len(training_scenes) < distributed.size():
        raise UserError(
            f"{len(training_scenes)} training scenes in {config.data.train_dir} for {distributed.size()} ranks: "
            "start at most one rank a scene",
            on_all_ranks=True,
        )
    local_batch = training.local_batch_size(settings, distributed.size())
    per_update = local_batch * settings.gradient_accumulation_frequency
    batches = data.patch_batches(training_scenes, config.data, per_update, True, settings.seed, threads)
    held_out_batches = data.patch_batches(held_out, config.data, local_batch, False, settings.seed, threads)
    network = model.unet()
    scale_loss = settings.precision == "mixed_float16"
    optimizer = optimizers.build(config.optimizer, config.schedule, distributed.size(), scale_loss)
    _log_settings(config, log, batches, held_out_batches)
    run.say(
        f"training on {len(training_scenes)} scenes ({batches.samples} patches), {len(held_out)} scenes held out "
        f"({held_out_batches.samples} patches); {distributed.size()} ranks x {threads} threads, global batch "
        f"{per_update * distributed.size()}, {batches.steps_per_epoch} updates an epoch, {settings.precision}"
    )
    rule = baseline.fit(training_scenes, config.data)
    run.say(f"threshold baseline: cloud where {rule}, right on {rule.training_accuracy:.2%} of the training pixels")
    run.record("baseline", rule=str(rule), **rule.as_dict())
    forward = training.forward(network, settings.xla)
    started = time.perf_counter()
    summary = training.fit(
        network,
        objective,
        batches,
        lambda: evaluate(network, forward, held_out_batches, threads),
        SCORE,
        optimizer,
        settings,
        settings.epochs,
        settings.target,
        run,
        log,
        threads,
        config.output.tensorboard,
    )
    summary["seconds"] = time.perf_counter() - started
    summary["time_per_epoch"] = summary["seconds"] / max(summary["epochs_run"], 1e-9)
    summary["scenes"] = len(scenes)
    if distributed.is_root():
        _save(network, rule, run, config)
    run.record("training", **summary)
    distributed.barrier()  # no rank goes on to inference before the model is there
    return summary


def _log_settings(config: Config, log: Log, batches: Batches, held_out: Batches) -> None:
    settings = config.training
    values = {
        "seed": settings.seed,
        "global_batch_size": batches.batch_size * distributed.size(),
        "gradient_accumulation_frequency": settings.gradient_accumulation_frequency,
        "train_samples": batches.samples,
        "eval_samples": held_out.samples,
        **optimizers.log_entries(config.optimizer, config.schedule, distributed.size()),
        "precision_mode": settings.precision,
    }
    log.events(values)


def _save(network: tf.keras.Model, rule: baseline.Threshold, run: Run, config: Config) -> None:
    (run / "baseline.json").write_text(json.dumps(rule.as_dict(), indent=1) + "\n", encoding="utf-8")
    network.save(run / "model.keras")
    network.save(run / "saved_model", save_format="tf")
    wanted = config.report.model_file
    if wanted:
        suffix = Path(wanted).suffix
        source = run / ("model.keras" if suffix == ".keras" else "saved_model")
        if suffix in (".h5", ".hdf5"):
            source = run / "model.h5"
            network.save(source, save_format="h5")
        deliver(source, Path(wanted))

"""Training and evaluation on a root folder's train/ and validation/ samples."""

import time

import tensorflow as tf

from common import distributed
from common.data.batches import Batches
from common.errors import UserError
from common.optim import optimizers
from common.runs.folder import Run
from common.runs.mlperf import Log
from common.training import loop as training
from tf_deepcam import pictures
from tf_deepcam.config import Config
from tf_deepcam.data import samples as data
from tf_deepcam.data import staging
from tf_deepcam.losses import pixel_loss
from tf_deepcam.network import deeplab as model
from tf_deepcam.network import weights
from tf_deepcam.scores import intersection_over_union

SCORE = "iou"


def objective(config: Config):
    """Loss and IoU of a training batch, each as (sum, weight): means over samples, so every rank weighs the same."""

    def measure(batch: tuple, logits: tf.Tensor) -> dict:
        """batch: (fields, labels [batch, height, width]); logits: [batch, height, width, 3] float32."""
        scores = intersection_over_union(tf.argmax(logits, -1), batch[1], data.CLASSES)
        return {
            "loss": (tf.reduce_mean(pixel_loss(batch[1], logits, config.loss)), 1.0),
            SCORE: (tf.reduce_mean(scores), 1.0),
        }

    return measure


def evaluator(network: tf.keras.Model, config: Config, batches: Batches, threads: int):
    """A collective call that gives {"loss", "iou"}: means over all samples, each counted once on whatever rank."""
    forward = training.forward(network, config.training.xla)

    @tf.function(reduce_retracing=True)
    def sums(fields: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = forward(fields)
        loss = tf.reduce_mean(pixel_loss(labels, logits, config.loss), (1, 2))
        scores = intersection_over_union(tf.argmax(logits, -1), labels, data.CLASSES)
        return tf.stack([tf.reduce_sum(loss), tf.reduce_sum(scores), tf.cast(tf.shape(labels)[0], tf.float32)])

    def evaluate() -> dict:
        loss, score, samples = training.sum_over_batches(batches, lambda batch: sums(*batch).numpy(), 3, threads)
        return {"loss": loss / samples, SCORE: score / samples}

    return evaluate


def make_batches(config: Config, per_update: int, local_batch: int, threads: int) -> tuple:
    """Batches of the files for training and validation, and their Reader. A collective call."""
    settings, seed = config.data, config.training.seed
    samples = [data.list_samples(settings, part) for part in ("train", "validation")]
    read = data.reader(samples[0], settings)
    batches = [
        data.sample_batches(files, read, settings, size, training_part, seed, threads)
        for files, size, training_part in zip(samples, (per_update, local_batch), (True, False))
    ]
    return batches, read


def stage_batches(config: Config, batches: list, read: data.Reader, threads: int) -> tuple:
    """Stage this rank's share. Returns batches of what is staged, and a record of it. A collective call."""
    place = staging.Staging(config.data, batches[0].spec[0][0], read)
    started = time.perf_counter()
    made = place.stage([file for part in batches for file in part.own_files()], threads)
    files = sum(distributed.gather_objects(made))
    facts = {"files": files, "bytes": files * place.bytes, "seconds": time.perf_counter() - started}
    return [place.batches(part, config.training.seed) for part in batches], facts


def _staged_line(config: Config, facts: dict) -> str:
    gigabytes = facts["bytes"] / 1e9
    return f"{facts['files']} files, {gigabytes:.3f} GB, staged to {config.data.stage_dir} in {facts['seconds']:.1f} s"


def stage(config: Config, threads: int) -> int:
    """The command: stage what `train` with these settings on as many ranks would stage. A collective call."""
    if not config.data.stage_dir:
        raise UserError("data.stage_dir is not set: the node-local folder to stage to", on_all_ranks=True)
    readers = config.data.max_inter_threads or threads
    batches, read = make_batches(config, 1, 1, readers)
    _, facts = stage_batches(config, batches, read, readers)
    if distributed.is_root():
        print(_staged_line(config, facts))
    distributed.barrier()
    return 0


def _batches(config: Config, run: Run, log: Log, per_update: int, local_batch: int, readers: int) -> list:
    """For training and for validation, of the files or, with data.stage_dir, of what is staged first."""
    batches, read = make_batches(config, per_update, local_batch, readers)
    if not config.data.stage_dir:
        return batches
    log.start("staging")
    staged, facts = stage_batches(config, batches, read, readers)
    log.end("staging")
    run.say(_staged_line(config, facts))
    run.record("staging", **facts)
    return staged


def train(config: Config, run: Run, log: Log, threads: int) -> dict:
    """Train, save model.keras and model.npz in the run folder, and return the summary of the training.

    The MLPerf log's init interval must be open; the run interval is opened and closed here. Raises UserError.
    """
    settings = config.training
    training.prepare(settings)
    local_batch = training.local_batch_size(settings, distributed.size())
    per_update = local_batch * settings.gradient_accumulation_frequency
    readers = config.data.max_inter_threads or threads
    batches, validation = _batches(config, run, log, per_update, local_batch, readers)
    shape = batches.spec[0][0]  # [height, width, channels]
    group = settings.batchnorm_group_size
    network = model.deeplab(shape[-1], data.CLASSES, config.model.output_stride, config.model.width, group)
    if config.model.checkpoint and not run.resumed:
        distributed.on_root(lambda: weights.load(network, config.model.checkpoint))
    optimizer = optimizers.build(
        config.optimizer, config.schedule, distributed.size(), settings.precision == "mixed_float16"
    )
    gflop = model.forward_gflop(network, shape)
    _log_settings(config, log, batches, validation)
    run.say(
        f"training on {batches.samples} samples of {shape[0]} x {shape[1]}, {validation.samples} for validation; "
        f"{distributed.size()} ranks x {threads} threads, global batch {per_update * distributed.size()}, "
        f"{batches.steps_per_epoch} updates an epoch, {settings.precision}; {gflop:.1f} GFLOP a forward pass"
    )
    log.end("init")
    log.start("run")
    started = time.perf_counter()
    summary = training.fit(
        network,
        objective(config),
        batches,
        evaluator(network, config, validation, threads),
        SCORE,
        optimizer,
        settings,
        settings.max_epochs,
        settings.target_iou,
        run,
        log,
        threads,
        config.output.tensorboard,
        gflop_per_sample=3 * gflop,  # the backward pass costs twice the forward one
    )
    summary["seconds"] = time.perf_counter() - started
    log.end("run", status="success" if summary["target_reached"] or not settings.target_iou else "aborted")
    if distributed.is_root():
        network.save(run / "model.keras")
        weights.save(network, run / "model.npz")
        pictures.draw_samples(network, validation, config, run)
    run.record("training", **summary)
    distributed.barrier()
    return summary


def _log_settings(config: Config, log: Log, batches: Batches, validation: Batches) -> None:
    """Under the keys of the published result logs."""
    settings = config.training
    values = {
        "checkpoint": config.model.checkpoint or None,
        "seed": settings.seed,
        "global_batch_size": batches.batch_size * distributed.size(),
        "batchnorm_group_size": settings.batchnorm_group_size,
        "batchnorm_group_stride": 1,
        "gradient_accumulation_frequency": settings.gradient_accumulation_frequency,
        "data_format": "staged" if config.data.stage_dir else "hdf5",
        "shuffle_mode": "global" if config.data.cache == "none" and not config.data.stage_dir else "local",
        "precision_mode": settings.precision,
        "enable_jit": settings.xla,
        **optimizers.log_entries(config.optimizer, config.schedule, distributed.size()),
        "train_samples": batches.samples,
        "eval_samples": validation.samples,
    }
    log.events(values)

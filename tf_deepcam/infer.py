"""The inference benchmark: passes over samples, with the network or only reading, timed on every rank."""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import tensorflow as tf

from common import distributed
from common.errors import UserError
from common.keras import inference, precision
from common.keras.names import keras_policy
from common.measuring import timing
from common.report.tables import show
from common.runs.files import whole
from common.runs.folder import Run
from common.session import Session
from tf_deepcam import records
from tf_deepcam.config import Config
from tf_deepcam.data import formats
from tf_deepcam.data.samples import CLASSES
from tf_deepcam.network import trained
from tf_deepcam.scores import intersection_over_union


def infer(config: Config, session: Session) -> None:
    """Time passes over the samples of inference.data_dirs, and score them. Collective.

    Raises:
        UserError: if settings, samples and network do not fit together.
    """
    settings, size, run = config.inference, distributed.size(), session.run
    if settings.batch_size % size:
        raise UserError(
            f"inference.batch_size {settings.batch_size} cannot be divided evenly among {size} ranks: use a multiple",
            on_all_ranks=True,
        )
    if settings.outputfile:
        distributed.on_root(lambda: timing.check_output(settings.outputfile))
    source = formats.find(settings.data_dirs, config.data.channels, settings.stats)
    if len(source.files) < size:
        raise UserError(f"{len(source.files)} samples for {size} ranks: use fewer ranks", on_all_ranks=True)
    local_batch = settings.batch_size // size
    batches = _batches(config, source, local_batch)
    forward = _forward(config, source, local_batch) if settings.mode == "inference" else None
    run.say(
        f"{settings.mode}: {len(source.files)} {source.form} samples of {source.shape[0]} x {source.shape[1]}; {size} "
        f"ranks x {session.threads} threads on {session.devices}, {settings.max_inter_threads} batches at once, "
        f"global batch {settings.batch_size}, {precision.in_words(settings)}"
    )
    own_bytes = sum(file.bytes for file in batches.own_files())
    with session.timed():
        session.log.start("inference", samples=len(source.files))
        passes = timing.measure(
            lambda: timing.Work(_pass(batches, forward, settings.max_inter_threads), own_bytes),
            settings.num_warmup_runs,
            settings.num_runs,
            run.say,
        )
        session.log.end("inference", samples=len(source.files))
    iou = None
    if forward is not None and (settings.predictions != "none" or (settings.score and source.labels)):
        iou = _score(config, run, batches, forward, source.labels)
    _record(config, session, passes, len(source.files), iou)
    _write(config, session, passes, _about(config, session, source), iou)
    distributed.barrier()


def _about(config: Config, session: Session, source: formats.SampleSet) -> dict[str, Any]:
    """What inference.json holds besides the times."""
    settings = config.inference
    return {
        "mode": settings.mode,
        "reader": settings.reader,
        "form": source.form,
        "samples": len(source.files),
        "ranks": distributed.size(),
        "nodes": distributed.nodes(),
        "batch_size": settings.batch_size,
        "max_inter_threads": settings.max_inter_threads,
        "max_intra_threads": session.threads,
        "precision": keras_policy(settings.precision),
        "tf32": settings.precision == "tf32",
        "xla": settings.xla,
        "tensorrt": settings.enable_trt,
    }


def _record(
    config: Config, session: Session, passes: list[timing.Measured], samples: int, iou: Optional[float]
) -> None:
    settings = config.inference
    policy, tf32 = keras_policy(settings.precision), settings.precision == "tf32"
    session.log.events({"inference_precision_mode": policy, "inference_tf32": tf32})
    if iou is not None:
        session.log.event("inference_accuracy", iou)
    session.run.record(
        records.Inference(
            mode=settings.mode,
            precision=policy,
            tf32=tf32,
            ranks=distributed.size(),
            samples=samples,
            batch_size=settings.batch_size,
            **timing.statistics(passes),
            iou=iou,
        )
    )


def _batches(config: Config, source: formats.SampleSet, local_batch: int):
    settings = config.inference
    if settings.reader == "dali":
        from tf_deepcam.data.dali import DaliBatches  # loads DALI, which is optional

        return DaliBatches(source, local_batch, settings.max_inter_threads)
    return source.batches(local_batch, settings.max_inter_threads)


def _forward(config: Config, source: formats.SampleSet, local_batch: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function from fields to logits [batch, height, width, 3] float32."""
    settings = config.inference
    if not settings.model_file:
        raise UserError(
            "inference.model_file is not set: give the trained network, or set inference.mode: io", on_all_ranks=True
        )
    precision.apply("inference", settings)
    network = trained.load(settings.model_file, config.model, source.shape[-1])
    if settings.enable_trt:
        from tf_deepcam.network import tensorrt  # few machines have what it needs

        shape = (local_batch, *source.shape)
        return tensorrt.compiled(network, shape, keras_policy(settings.precision), settings.trt_model_dir)
    return inference.frozen(network, xla=settings.xla)


def _pass(batches, forward, at_once: int) -> int:
    """One pass of this rank, which copies the labels back from the device. Returns the number of samples."""

    def work(batch: tuple) -> int:
        if forward is not None:
            tf.argmax(forward(batch[0]), -1, output_type=tf.int32).numpy()
        return len(batch[0])

    try:
        return sum(_at_once(work, batches.dataset(parallel=at_once), at_once))
    except tf.errors.OpError as error:
        raise batches.problem(error) from error


def _at_once(work: Callable, items: Iterable, limit: int) -> Iterable:
    """Results of `work` in order, with `limit` items processed at a time."""
    if limit == 1:
        yield from map(work, items)
        return
    pending: deque[Future] = deque()
    with ThreadPoolExecutor(limit) as threads:
        for item in items:
            pending.append(threads.submit(work, item))
            if len(pending) >= limit:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _score(config: Config, run: Run, batches, forward, labelled: bool):
    """Write predictions if set; return the mean IoU over all ranks' samples, None without labels."""
    kind, folder = config.inference.predictions, run / "predictions"
    if kind != "none":
        distributed.on_root(lambda: folder.mkdir(exist_ok=True))
    files = iter(batches.own_files())
    sums, problem = np.zeros(2), None
    try:
        for batch in batches.dataset():
            logits = forward(batch[0])
            labels = tf.argmax(logits, -1)
            if labelled and config.inference.score:
                scores = intersection_over_union(labels, batch[1], CLASSES)
                sums += float(tf.reduce_sum(scores)), len(batch[0])
            if kind != "none":
                arrays = tf.cast(labels, tf.uint8) if kind == "labels" else tf.cast(logits, tf.float16)
                for array, file in zip(arrays.numpy(), files):
                    _save(folder / f"{kind}-{Path(file.path).stem}.npy", array)
    except UserError as error:
        problem = error
    distributed.raise_together(problem)
    total, count = distributed.sum_over_ranks(sums)
    if kind != "none":
        run.say(f"predictions: {folder}")
    return float(total / count) if count else None


def _save(path: Path, array: np.ndarray) -> None:
    with whole(path) as file:
        np.save(file, array)


def _write(
    config: Config, session: Session, passes: list[timing.Measured], about: dict[str, Any], iou: Optional[float]
) -> None:
    """Print the passes as a table, and write inference.json and .csv, on rank 0."""
    if not distributed.is_root():
        return
    show(timing.runs_table(passes))
    if iou is not None:
        print(f"IoU over {about['samples']} samples: {iou:.4f}")
        about = {**about, "iou": iou}
    for path in filter(None, (str(session.run / "inference"), config.inference.outputfile)):
        timing.write(path, passes, about)
        print(f"written: {Path(path).with_suffix('.json')} and .csv")

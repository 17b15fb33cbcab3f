"""DeepCAM's measurements, one a process: python -m tests.bench.deepcam NAME

At full size (768 x 1152, 16 channels) and width, one sample. Floating-point work is TensorFlow's own count of the
forward pass, a training step as three times that.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from common.measuring.timing import repeat
from tests.bench.measure import CORES, drawn, gemm, in_turn, row, start
from tests.helpers import ROOT, environment

SHAPE = (768, 1152, 16)


def sample_pass(tf):
    """One sample's forward pass as the program makes it."""
    from common.keras.inference import frozen
    from tf_deepcam.network import deeplab

    compiled, fields = frozen(drawn(deeplab.deeplab())), tf.random.normal((1, *SHAPE))
    return lambda: compiled(fields).numpy()


def sample_step(tf, samples: int = 1, recompute: bool = False):
    """A training step of a rank as the program makes it, everything included but reading."""
    from common.optim import optimizers
    from common.training.step import TrainingStep
    from tf_deepcam import config, task
    from tf_deepcam.network import deeplab

    settings = config.Config()
    training = settings.training.model_copy(update={"recompute": recompute})
    optimizer = optimizers.build(settings.optimizer, settings.schedule)
    update = TrainingStep(deeplab.deeplab(), optimizer, task.objective(settings.loss), training)
    fields, labels = tf.random.uniform((samples, *SHAPE)), tf.zeros((samples, *SHAPE[:2]), tf.uint8)
    return lambda: update((fields, labels)).terms["loss"].numpy()


def forward_gflop() -> float:
    from common.keras import flops
    from tf_deepcam.network import deeplab

    return flops.forward_gflop(deeplab.deeplab(), SHAPE)


def forward(precision: str, target: float) -> None:
    tf = start(precision, trains=False)
    work, gflop = gemm(tf, precision)
    seconds, limit = in_turn(sample_pass(tf), work, 7)
    rate = forward_gflop() / seconds
    row(f"forward, {precision}", rate, gflop / limit, "GFLOP/s", target, "matrix product, 4096 x 4096")


def step(precision: str, target: float) -> None:
    tf = start(precision)
    work, gflop = gemm(tf, precision)
    seconds, limit = in_turn(sample_step(tf), work, 7)
    peak = _peak_gib()
    rate = 3 * forward_gflop() / seconds
    row(f"training step, {precision}", rate, gflop / limit, "GFLOP/s", target, "matrix product, 4096 x 4096")
    print(f"peak memory of the step in {precision}: {peak:.1f} GiB", file=sys.stderr)


def _peak_gib() -> float:
    """Of this process until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def recompute(precision: str) -> None:
    """Twice the batch with recomputed activations against a batch with kept ones: memory, and seconds a sample."""
    found = {}
    for samples, recomputed in ((1, False), (2, False), (1, True), (2, True)):
        call = [sys.executable, "-m", "tests.bench.deepcam", "one-step", precision, str(samples), str(int(recomputed))]
        done = subprocess.run(call, cwd=ROOT, env=environment(), check=True, stdout=subprocess.PIPE, text=True)
        gib, *seconds = map(float, done.stdout.splitlines()[-1].split())
        found[samples, recomputed] = np.array([gib]), np.array(seconds) / samples
        how = "recomputed" if recomputed else "kept"
        print(
            f"{precision}, batch {samples}, {how}: {gib:.1f} GiB, {np.median(seconds) / samples:.2f} s a sample",
            file=sys.stderr,
        )
    (ours, ours_seconds), (limit, limit_seconds) = found[2, True], found[1, False]
    what = "batch 1, activations kept"
    row(f"peak memory, batch 2, recomputed, {precision}", ours, limit, "GiB", 1.0, what, higher=False)
    row(f"step, batch 2, recomputed, {precision}", ours_seconds, limit_seconds, "s a sample", 0.7, what, higher=False)


def one_step() -> None:
    """In a process of its own: peak memory in GiB and the seconds of some steps."""
    precision, samples, recomputed = sys.argv[2:]
    work = sample_step(start(precision), int(samples), bool(int(recomputed)))
    seconds = repeat(work, 5, 1)
    print(_peak_gib(), *seconds)


def reading() -> None:
    """Samples from HDF5 files to normalised tensors, and from staged files, against bare reading of the files."""
    tf = start()
    from common.config.settings import check
    from common.training.settings import BatchSizes
    from tf_deepcam import config
    from tf_deepcam.data import samples as data
    from tf_deepcam.data import staging
    from tf_deepcam.data.sample_batches import sample_batches
    from tf_deepcam.tools import synthesize

    count = 24  # so many that the page cache holds them all, but hardly a processor's cache one
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout = sys.stderr
        synthesize.main(synthesize.Collection(folder, train=count, validation=1))
        sys.stdout = sys.__stdout__
        settings = check(config.DataSettings, {"data_dir_prefix": folder, "stage_dir": f"{folder}/stage"}, {}, "bench")
        samples = data.list_samples(settings, "train")
        sizes = BatchSizes(1, 1, 1, 1)
        (source, _), read, _ = sample_batches(settings, sizes, seed=0, threads=CORES)
        place = staging.Staging(settings, SHAPE, read)
        place.stage(samples, CORES)
        staged = place.batches(source, seed=0)
        buffer = np.empty(os.path.getsize(samples[0].path), np.uint8)

        def raw() -> None:
            for path in sorted(Path(folder, "train").glob("data-*.h5")):
                with open(path, "rb", buffering=0) as file:
                    file.readinto(buffer)

        def consume(batches):
            def work() -> None:
                for _, labels in batches.dataset(0, count, parallel=CORES):
                    tf.reduce_sum(labels[0, 0])

            return work

        ours, limit = in_turn(consume(source), raw, 5)
        row("reading samples", count / ours, count / limit, "samples/s", 0.35, "bare read, page cache, one buffer")
        half, whole = in_turn(consume(staged), consume(source), 5)
        row("reading staged samples", count / half, count / whole, "samples/s", 1.8, "the HDF5 reader")


MEASUREMENTS = {
    "forward-float32": lambda: forward("float32", 0.95),
    "forward-bfloat16": lambda: forward("mixed_bfloat16", 0.95),
    "step-float32": lambda: step("float32", 0.85),
    "step-bfloat16": lambda: step("mixed_bfloat16", 0.75),  # a floor; the goal is PyTorch's speed (rivals)
    "recompute-float32": lambda: recompute("float32"),
    "recompute-bfloat16": lambda: recompute("mixed_bfloat16"),
    "reading": reading,
}

if __name__ == "__main__":
    {**MEASUREMENTS, "one-step": one_step}[sys.argv[1]]()

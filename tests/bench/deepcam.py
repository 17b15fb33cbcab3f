"""DeepCAM's measurements, one a process: python -m tests.bench.deepcam NAME

At full size (768 x 1152, 16 channels) and width, one sample. Floating-point work is TensorFlow's own count of the
forward pass, a training step as three times that.
"""

import os
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench.measure import CORES, gemm, in_turn, row, start

SHAPE = (768, 1152, 16)


def forward(precision: str, target: float) -> None:
    tf = start(precision)
    from common.training.flops import forward_gflop
    from common.training.step import forward as compiled_forward
    from tf_deepcam.network import deeplab

    work, gflop = gemm(tf, precision)
    network = deeplab.deeplab()
    fields = tf.random.normal((1, *SHAPE))
    compiled = compiled_forward(network)
    seconds, limit = in_turn(lambda: compiled(fields).numpy(), work, 3)
    rate = forward_gflop(network, SHAPE) / seconds
    row(f"forward, {precision}", rate, gflop / limit, "GFLOP/s", target, "matrix product, 4096 x 4096")


def step(precision: str, target: float) -> None:
    """A training step of one sample, everything included but reading."""
    tf = start(precision)
    from common.optim import optimizers
    from common.training.flops import forward_gflop
    from common.training.step import TrainingStep
    from tf_deepcam import config, task
    from tf_deepcam.network import deeplab

    work, gflop = gemm(tf, precision)
    settings = config.Config()
    network = deeplab.deeplab()
    optimizer = optimizers.build(settings.optimizer, settings.schedule)
    update = TrainingStep(network, optimizer, task.objective(settings.loss), settings.training)
    fields, labels = tf.random.uniform((1, *SHAPE)), tf.zeros((1, *SHAPE[:2]), tf.uint8)
    seconds, limit = in_turn(lambda: update((fields, labels)).terms["loss"].numpy(), work, 3)
    rate = 3 * forward_gflop(network, SHAPE) / seconds
    row(f"training step, {precision}", rate, gflop / limit, "GFLOP/s", target, "matrix product, 4096 x 4096")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the step in {precision}: {peak:.1f} GiB", file=sys.stderr)


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
        made = config.SynthesizeSettings(folder=folder, train=count, validation=1)
        sys.stdout = sys.stderr
        synthesize.main(made)
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
    "forward-float32": lambda: forward("float32", 0.85),
    "forward-bfloat16": lambda: forward("mixed_bfloat16", 0.75),
    "step-float32": lambda: step("float32", 0.80),
    "step-bfloat16": lambda: step("mixed_bfloat16", 0.60),
    "reading": reading,
}

if __name__ == "__main__":
    MEASUREMENTS[sys.argv[1]]()

"""CloudMask's measurements, one a process: python -m tests.bench.cloudmask NAME

Floating-point work is counted as 21.5 GFLOP for the forward pass of 256 x 256 pixels (multiplications and additions
of the convolutions), a training step as three times that.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from common.measuring.timing import repeat
from tests.bench.made import converting, raw_reader, scenes
from tests.bench.measure import CORES, alternately, drawn, gemm, in_turn, row, start
from tests.helpers import ROOT, environment

GFLOP_PER_PIXEL = 21.5 / 256**2
HEIGHT, WIDTH = 1200, 1500


def scene_pass(tf):
    """A whole scene in one pass, as the program makes it."""
    from cloudmask.network.unet import unet
    from common.keras.inference import frozen

    image = tf.random.normal((1, HEIGHT, WIDTH + 4, 9))
    compiled = frozen(drawn(unet()))
    return lambda: compiled(image).numpy()


def patch_step(tf):
    """A training step of 4 patches of 256 x 256 as the program makes it, everything included but reading."""
    update = training_step()
    rng = np.random.default_rng(0)
    image = tf.constant(rng.normal(size=(4, 256, 256, 9)), tf.float32)
    cloud = tf.constant(rng.integers(0, 2, (4, 256, 256, 1)), tf.uint8)
    return lambda: update((image, cloud, tf.ones_like(cloud))).terms["loss"].numpy()


def training_step():
    """The benchmark's network, loss and optimizer as one update."""
    from cloudmask.network.unet import unet
    from cloudmask.task import objective
    from common.optim import optimizers
    from common.optim.settings import OptimizerSettings, ScheduleSettings
    from common.training.settings import TrainingSettings
    from common.training.step import TrainingStep

    adam = optimizers.build(OptimizerSettings(), ScheduleSettings())
    return TrainingStep(unet(), adam, objective, TrainingSettings())


def forward(precision: str, target: float) -> None:
    tf = start(precision, trains=False)
    work, gflop = gemm(tf, precision)
    scene, limit = in_turn(scene_pass(tf), work)
    rate = GFLOP_PER_PIXEL * HEIGHT * (WIDTH + 4) / scene
    row(f"forward, whole scene, {precision}", rate, gflop / limit, "GFLOP/s", target, "matrix product, 4096 x 4096")


def step(precision: str, target: float) -> None:
    tf = start(precision)
    work, gflop = gemm(tf, precision)
    seconds, limit = in_turn(patch_step(tf), work)
    rate = 3 * 4 * 21.5 / seconds
    row(f"training step, {precision}", rate, gflop / limit, "GFLOP/s", target, "matrix product, 4096 x 4096")


def tiling_modes() -> None:
    """One pass against the reference's 63 tiles."""
    start(trains=False)
    from cloudmask.config import DataSettings, InferenceSettings
    from cloudmask.network.networks import NETWORKS
    from cloudmask.network.tiling import Tiling
    from common.keras.inference import frozen

    reference = NETWORKS["reference"]
    network = frozen(drawn(reference.build()))

    def work(mode: str):
        tiles = Tiling.of(DataSettings(), InferenceSettings(mode=mode), reference)
        image = np.random.default_rng(0).random((1, *tiles.padded_shape, 9), dtype=np.float32)
        return lambda: tiles.mask(network, image)

    whole, reference = in_turn(work("whole"), work("reference"), 5)
    # Here the "limit" is the reference's way, to be beaten by the factor in `ratio`.
    row("whole scene against 63 tiles", whole, reference, "s a scene", 2.2, "the reference's 63 tiles", higher=False)


def reading() -> None:
    """Scenes of the benchmark's layout (122 MB each are read) in memory's page cache: as training reads them, to
    normalised patches in TensorFlow, and as inference does, against bare reading of the same bytes."""
    tf = start()
    from concurrent.futures import ThreadPoolExecutor

    from cloudmask.config import DataSettings
    from cloudmask.data.listing import list_scenes
    from cloudmask.data.patches import training_patches
    from cloudmask.data.scenes import read_scene
    from common.data.batches import Reading

    count = 16
    with tempfile.TemporaryDirectory() as folder:
        paths = scenes(Path(folder), count)
        raw = raw_reader(paths)
        for missing in ("reference", "mask"):
            settings = DataSettings(shuffle_files=2, missing=missing)
            files = list_scenes(folder)
            batches = training_patches(files, settings, 20, seed=0, reading=Reading(settings, CORES))

            def patches(batches=batches) -> None:  # four epochs in a row, as in a training
                for batch in batches.dataset(0, 4 * count, parallel=CORES):
                    tf.reduce_sum(batch[1][0, 0, 0])

            def whole(settings=settings) -> None:
                with ThreadPoolExecutor(CORES) as threads:
                    list(threads.map(lambda path: len(read_scene(str(path), settings).image), paths))

            for name, work, done in (("patches", patches, 4 * count), ("whole scenes", whole, count)):
                ours, limit = in_turn(work, raw, 7)
                title = f"reading {name}, missing: {missing}"
                row(title, done / ours, count / limit, "scenes/s", 0.5, "bare read of the same bytes, one thread")


def reading_products() -> None:
    """Sentinel-3 products, compressed as real ones are, converted while they are read, against the network's pass over
    as many scenes: what must be hidden behind it."""
    tf = start(trains=False)
    from concurrent.futures import ThreadPoolExecutor

    from cloudmask.config import DataSettings
    from cloudmask.data.scenes import read_scene

    count = 4
    with tempfile.TemporaryDirectory() as folder:
        paths = scenes(Path(folder), count, "sen3")
        network = scene_pass(tf)

        def convert() -> None:
            with ThreadPoolExecutor(CORES) as threads:
                list(threads.map(lambda path: len(read_scene(str(path), DataSettings()).image), paths))

        def compute() -> None:
            for _ in paths:
                network()

        ours, limit = in_turn(convert, compute, 5)
    row("reading products", count / ours, count / limit, "scenes/s", 1.0, "the network's pass over as many scenes")


def end_to_end(output: str, form: str = "dataset", precision: str = "float32", target: float = 0.95) -> None:
    """Inference from files to masks, scores included, against undisturbed passes of the network before and after."""
    with tempfile.TemporaryDirectory() as folder:
        scenes(Path(folder) / "scenes", 8, form)
        tf = start(precision, trains=False)
        from cloudmask.network.unet import unet
        from common.keras import files as keras_files
        from common.keras.inference import frozen

        network = drawn(unet())
        keras_files.save(network, Path(folder) / "model.keras")
        compiled, image = frozen(network), tf.random.normal((1, HEIGHT, WIDTH + 4, 9))
        alone = lambda warmup: repeat(lambda: compiled(image).numpy(), 3, warmup)  # noqa: E731
        ours, limit, before = [], [], alone(2)
        for number in range(5):
            ours.append(_seconds_a_scene(Path(folder), output, precision, f"run{number}"))
            after = alone(0)
            limit.append(float(np.median(before + after)))
            before = after
    name = f"inference end to end, {'products' if form == 'sen3' else 'scenes'} to {output} masks, {precision}"
    row(name, np.array(ours), np.array(limit), "s a scene", target, "the network's pass alone", higher=False)


def _seconds_a_scene(folder: Path, output: str, precision: str, run_name: str) -> float:
    """Of the program, over the scenes and the network in a folder."""
    settings = [f"inference.inference_dir={folder}/scenes", f"inference.model_file={folder}/model.keras"]
    # A run to warm up, as in a long list of scenes: the first few of a process take longer, until its memory is there.
    settings += [f"inference.output={output}", "inference.num_runs=1", "inference.num_warmup_runs=1"]
    settings += [
        f"inference.precision={precision}",
        f"output.folder={folder}/runs",
        f"output.run_name={run_name}",
        "inference.pictures=0",
    ]
    call = [sys.executable, "-m", "cloudmask", "infer", *settings]
    subprocess.run(call, cwd=ROOT, env=environment(), check=True, stdout=subprocess.DEVNULL)
    lines = (folder / "runs" / run_name / "metrics.jsonl").read_text().splitlines()
    return next(record for record in map(json.loads, lines) if record["kind"] == "inference")["time_per_inference"]


def ranks() -> None:
    """Two ranks that exchange gradients against two processes that do not, each on one core."""
    ours, limit = alternately(lambda: _two_processes("ranks"), lambda: _two_processes("alone"), 5)
    row("two ranks, one core each", ours, limit, "patches/s", 0.98, "two processes without allreduce")


def _two_processes(kind: str) -> float:
    """Patches a second of two processes together."""
    program = [sys.executable, "-m", "tests.bench.cloudmask", "one-rank"]
    if kind == "ranks":
        call = [str(Path(sys.executable).parent / "horovodrun"), "--gloo", "-np", "2", *program]
        output = subprocess.run(call, cwd=ROOT, env=environment(), check=True, stdout=subprocess.PIPE, text=True).stdout
        return sum(float(line.split("rate ")[1]) for line in output.splitlines() if "rate " in line)
    begin = str(time.time() + 20)
    parts = [
        subprocess.Popen(
            ["taskset", "-c", str(core), *program, begin],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in sorted(os.sched_getaffinity(0))[:2]
    ]
    return sum(float(part.communicate()[0].split("rate ")[1]) for part in parts)


def one_rank() -> None:
    """Steps of one process, alone or as a rank; prints its patches a second."""
    tf = start()
    from common import distributed

    update = training_step()
    image, cloud = tf.random.normal((4, 256, 256, 9)), tf.ones((4, 256, 256, 1), tf.uint8)
    work = lambda: update((image, cloud, cloud)).terms["loss"].numpy()  # noqa: E731
    repeat(work, 1, 1)
    if len(sys.argv) > 2:  # both processes begin at the same moment
        time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
    distributed.barrier()
    print("rate", 4 / float(np.median(repeat(work, 8, 1))), flush=True)


MEASUREMENTS = {
    "forward-float32": lambda: forward("float32", 1.15),
    "forward-bfloat16": lambda: forward("mixed_bfloat16", 1.25),
    "step-float32": lambda: step("float32", 0.85),
    "step-bfloat16": lambda: step("mixed_bfloat16", 0.95),
    "tiling": tiling_modes,
    "reading": reading,
    "reading-products": reading_products,
    "end-to-end": lambda: end_to_end("reference"),
    "end-to-end-netcdf": lambda: end_to_end("netcdf"),
    "end-to-end-products": lambda: end_to_end("netcdf", "sen3", "mixed_bfloat16", 1 / 1.15),
    "converting": converting,
    "ranks": ranks,
}

if __name__ == "__main__":
    {**MEASUREMENTS, "one-rank": one_rank}[sys.argv[1]]()

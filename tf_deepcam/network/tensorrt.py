"""The network compiled with TensorRT through TensorFlow's TF-TRT, and kept for the next run.

An engine fits one kind of GPU, driver, TensorFlow, precision and batch shape; the name of its folder depends on all of
these and on the weights, so that it is built again when one changes. One rank builds, the others wait and load. It
needs a TensorFlow built with TensorRT, TensorRT's libraries and a GPU. None were at hand when this was written: only
the refusal, the export and the order of ranks have been run, the last with a stand-in for TF-TRT.
"""

import hashlib
import json
import shutil
import socket
from pathlib import Path
from typing import Callable, Optional

import tensorflow as tf

from common import distributed
from common.distributed import cuda
from common.errors import UserError, reason

_PRECISIONS = {"float32": "FP32", "mixed_float16": "FP16"}
_SITE_PACKAGES = Path(tf.__file__).parents[1]


def compiled(network: tf.keras.Model, shape: tuple, precision: str, folder: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compile the network's inference pass, or load it if it was compiled before. A collective call.

    Args:
        network: with its weights.
        shape: (batch, height, width, channels), the largest batch to compute.
        precision: Keras' policy.
        folder: where engines are kept.

    Returns:
        A function from at most `batch` samples to their logits.

    Raises:
        UserError: on every rank if it cannot be compiled.
    """
    distributed.raise_together(_problem(precision, folder))
    target = Path(folder).expanduser() / _key(network, shape, precision)
    build_where_missing(target, lambda path: _build(network, shape, _PRECISIONS[precision], path))
    loaded = tf.saved_model.load(str(target))  # must stay alive: its function alone does not keep the engines

    def forward(fields: tf.Tensor) -> tf.Tensor:
        """Pad smaller batches with zeros to the engine's size, and cut the result."""
        count = len(fields)
        padded = tf.pad(tf.cast(fields, tf.float32), [[0, shape[0] - count], *[[0, 0]] * (len(shape) - 1)])
        return next(iter(loaded.signatures["serving_default"](padded).values()))[:count]

    return forward


def _problem(precision: str, folder: str) -> Optional[UserError]:
    version = linked_version()
    absent = [name for name in libraries(version) if not cuda.loads(name, [_SITE_PACKAGES / "tensorrt" / name])]
    if not tf.config.get_visible_devices("GPU"):
        what = "no GPU"
    elif not any(version):
        what = "no TensorRT in this TensorFlow"
    elif absent:  # TensorFlow ends the process when it calls a library that is missing
        what = f"{', '.join(absent)} cannot be loaded, by exactly this name"
    elif precision not in _PRECISIONS:
        return UserError(f"inference.enable_trt: TensorRT computes in {' or '.join(_PRECISIONS)}, not {precision}")
    elif not folder:
        return UserError("inference.trt_model_dir is not set: the folder in which engines are kept")
    else:
        return None
    return UserError(
        f"inference.enable_trt: {what}: it needs an NVIDIA GPU, TensorFlow 2.15 (make venv GPU=1 TENSORFLOW=2.15) "
        "and the package tensorrt==8.6.1 (docs/how-to/gpu.md); or set inference.enable_trt: false"
    )


def linked_version() -> tuple[int, int, int]:
    """Return the version of TensorRT that TensorFlow was compiled with; zeros if it was compiled without."""
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils

    return _pywrap_py_utils.get_linked_tensorrt_version()


def libraries(version: tuple[int, int, int]) -> list[str]:
    """List the files that TensorFlow 2.15.1 asks the dynamic linker for, as seen with LD_DEBUG=libs."""
    suffix = ".".join(map(str, version))
    return [f"libnvinfer.so.{suffix}", f"libnvinfer_plugin.so.{suffix}"] if any(version) else []


def _key(network: tf.keras.Model, shape: tuple, precision: str) -> str:
    details = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[0])
    driver = Path("/proc/driver/nvidia/version")
    parts = [details, driver.read_text() if driver.exists() else "", tf.__version__, shape, precision, "fixed shapes"]
    digest = hashlib.sha256(json.dumps(parts, default=str).encode())
    for array in network.get_weights():
        digest.update(array.tobytes())
    return f"{str(details.get('device_name', 'gpu')).replace(' ', '-')}-{digest.hexdigest()[:16]}"


def build_where_missing(target: Path, build: Callable[[Path], None]) -> None:
    """Build a folder on one rank if any rank lacks it, then on one rank of each node that still lacks it.

    The second round is for folders that are not on a shared file system. A collective call.

    Args:
        target: the folder.
        build: makes the folder at the path that it is given.

    Raises:
        UserError: on every rank if the folder cannot be made.
    """
    for candidate in ((str(target),), (str(target), socket.gethostname())):
        builders = distributed.gather_objects(None if target.is_dir() else candidate)
        error = None
        if candidate in builders and builders.index(candidate) == distributed.rank():
            try:
                _publish(target, build)
            except OSError as problem:
                error = UserError(f"inference.trt_model_dir: {target}: cannot be made ({reason(problem)})")
        distributed.raise_together(error)  # the others wait here


def _publish(target: Path, build: Callable[[Path], None]) -> None:
    """Build the folder completely or not at all, even if other jobs build the same."""
    temporary = target.with_name(f".{target.name}.{socket.gethostname()}.{distributed.rank()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        build(temporary)
        temporary.replace(target)
    except OSError:
        if not target.is_dir():  # another was first
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def export(network: tf.keras.Model, shape: tuple, folder: Path) -> None:
    """Save the inference pass for inputs of exactly this shape as a SavedModel.

    With a free shape the output sizes of transposed convolutions would be computed in the graph, and TF-TRT leaves such
    convolutions to TensorFlow.
    """

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="fields")], autograph=False)
    def infer(fields: tf.Tensor) -> dict:
        return {"logits": network(fields, training=False)}

    module = tf.Module()
    module.parts = network.variables
    tf.saved_model.save(module, str(folder), signatures=infer.get_concrete_function())


def _build(network: tf.keras.Model, shape: tuple, precision: str, folder: Path) -> None:
    from tensorflow.python.compiler.tensorrt import trt_convert

    plain = folder.with_name(f"{folder.name}.plain")
    try:
        export(network, shape, plain)
        converter = trt_convert.TrtGraphConverterV2(input_saved_model_dir=str(plain), precision_mode=precision)
        converter.convert()
        converter.build(input_fn=lambda: iter([(tf.zeros(shape, tf.float32),)]))
        converter.save(str(folder))
    finally:
        shutil.rmtree(plain, ignore_errors=True)

"""The network compiled with TensorRT through TensorFlow's TF-TRT, kept for the next time.

An engine fits one kind of GPU, one driver, one TensorFlow, one precision and one batch shape; all of these are in the
name of the folder that it is kept in, so that it is built anew when one of them changes. One rank builds, the others
wait and load. Needs a TensorFlow that was built with TensorRT, TensorRT's libraries and a GPU; none was at hand when
this was written: its refusal, its export and the ranks' order have run, the last with a stand-in for TF-TRT.
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
    """The network's inference pass for up to shape[0] inputs of `shape`. Raises UserError where that cannot be done.
    A collective call."""
    distributed.raise_together(_problem(precision, folder))
    target = Path(folder).expanduser() / _key(network, shape, precision)
    build_where_missing(target, lambda place: _build(network, shape, _PRECISIONS[precision], place))
    loaded = tf.saved_model.load(str(target))  # kept: its function alone does not keep its engines

    def forward(fields: tf.Tensor) -> tf.Tensor:
        """Any batch size up to the engine's; what is missing is filled up with zeros and cut off again."""
        count = len(fields)
        filled = tf.pad(tf.cast(fields, tf.float32), [[0, shape[0] - count], *[[0, 0]] * (len(shape) - 1)])
        return next(iter(loaded.signatures["serving_default"](filled).values()))[:count]

    return forward


def _problem(precision: str, folder: str) -> Optional[UserError]:
    version = linked_version()
    absent = [name for name in libraries(version) if not cuda.loads(name, [_SITE_PACKAGES / "tensorrt" / name])]
    if not tf.config.get_visible_devices("GPU"):
        what = "no GPU"
    elif not any(version):
        what = "no TensorRT in this TensorFlow"
    elif absent:  # TensorFlow ends the process where it calls a library that it has not
        what = f"{', '.join(absent)} cannot be loaded, by this very name"
    elif precision not in _PRECISIONS:
        return UserError(f"inference.enable_trt: TensorRT computes in {' or '.join(_PRECISIONS)}, not {precision}")
    elif not folder:
        return UserError("inference.trt_model_dir is not set: the folder in which engines are kept")
    else:
        return None
    return UserError(
        f"inference.enable_trt: {what}: it takes an NVIDIA GPU, TensorFlow 2.15 (make venv GPU=1 TENSORFLOW=2.15) "
        "and the package tensorrt==8.6.1 (docs/how-to/gpu.md); or set inference.enable_trt: false"
    )


def linked_version() -> tuple[int, int, int]:
    """Of the TensorRT that TensorFlow was compiled with; zeros without. What is_tensorrt_build says is no more."""
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils

    return _pywrap_py_utils.get_linked_tensorrt_version()


def libraries(version: tuple[int, int, int]) -> list[str]:
    """The files that TensorFlow 2.15.1 asks the dynamic linker for, seen with LD_DEBUG=libs."""
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
    """One rank of those that have no such folder makes it; then one of each node that still has none, where the folder
    is not on a shared file system. Raises UserError on every rank. A collective call.

    build: makes the folder at the place that it is given.
    """
    for place in ((str(target),), (str(target), socket.gethostname())):
        builders = distributed.gather_objects(None if target.is_dir() else place)
        error = None
        if place in builders and builders.index(place) == distributed.rank():
            try:
                _publish(target, build)
            except OSError as problem:
                error = UserError(f"inference.trt_model_dir: {target}: cannot be made ({reason(problem)})")
        distributed.raise_together(error)  # the others wait here


def _publish(target: Path, build: Callable[[Path], None]) -> None:
    """Whole or not at all, also beside other jobs that make the same."""
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
    """The inference pass for inputs of this very shape. With a free one the output sizes of transposed convolutions are
    computed in the graph, and TF-TRT leaves those in TensorFlow."""

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="fields")], autograph=False)
    def infer(fields: tf.Tensor) -> dict:
        return {"logits": network(fields, training=False)}

    module = tf.Module()
    module.parts = network.variables
    tf.saved_model.save(module, str(folder), signatures=infer.get_concrete_function())


def _build(network: tf.keras.Model, shape: tuple, precision: str, place: Path) -> None:
    from tensorflow.python.compiler.tensorrt import trt_convert

    plain = place.with_name(f"{place.name}.plain")
    try:
        export(network, shape, plain)
        converter = trt_convert.TrtGraphConverterV2(input_saved_model_dir=str(plain), precision_mode=precision)
        converter.convert()
        converter.build(input_fn=lambda: iter([(tf.zeros(shape, tf.float32),)]))
        converter.save(str(place))
    finally:
        shutil.rmtree(plain, ignore_errors=True)

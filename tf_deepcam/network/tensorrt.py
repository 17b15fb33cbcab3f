"""The network compiled with TensorRT through TensorFlow's TF-TRT, kept for the next time.

An engine fits one kind of GPU, one driver, one TensorFlow, one precision and one batch shape; all of these are in the
name of the folder that it is kept in, so that it is built anew when one of them changes. Needs a TensorFlow that was
built with TensorRT, and TensorRT's libraries; neither was at hand when this was written, so only its refusal has run.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Callable

import tensorflow as tf

from common.errors import UserError

_PRECISIONS = {"float32": "FP32", "mixed_float16": "FP16"}


def compiled(network: tf.keras.Model, shape: tuple, precision: str, folder: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The network's inference pass for inputs of `shape` (batch first). Raises UserError where that cannot be done."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus or not tf.sysconfig.get_build_info().get("is_tensorrt_build", False):
        what = "no GPU" if not gpus else "no TensorRT in this TensorFlow"
        raise UserError(
            f"inference.enable_trt: {what}: it takes an NVIDIA GPU, tensorflow[and-cuda] and the package "
            "tensorrt==8.6.1; or set inference.enable_trt: false",
            True,
        )
    if precision not in _PRECISIONS:
        raise UserError(f"inference.enable_trt: TensorRT computes in {' or '.join(_PRECISIONS)}, not {precision}", True)
    if not folder:
        raise UserError("inference.trt_model_dir is not set: the folder in which engines are kept", True)
    target = Path(folder).expanduser() / _key(network, shape, precision)
    if not target.is_dir():
        _build(network, shape, _PRECISIONS[precision], target)
    infer = tf.saved_model.load(str(target)).signatures["serving_default"]
    return lambda fields: next(iter(infer(tf.cast(fields, tf.float32)).values()))


def _key(network: tf.keras.Model, shape: tuple, precision: str) -> str:
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    driver = Path("/proc/driver/nvidia/version")
    parts = [details, driver.read_text() if driver.exists() else "", tf.__version__, shape, precision]
    digest = hashlib.sha256(json.dumps(parts, default=str).encode())
    for array in network.get_weights():
        digest.update(array.tobytes())
    return f"{str(details.get('device_name', 'gpu')).replace(' ', '-')}-{digest.hexdigest()[:16]}"


def _build(network: tf.keras.Model, shape: tuple, precision: str, target: Path) -> None:
    from tensorflow.python.compiler.tensorrt import trt_convert

    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    plain = temporary / "plain"
    tf.saved_model.save(network, str(plain))
    converter = trt_convert.TrtGraphConverterV2(input_saved_model_dir=str(plain), precision_mode=precision)
    converter.convert()
    converter.build(input_fn=lambda: iter([(tf.zeros(shape, tf.float32),)]))
    converter.save(str(temporary / "engine"))
    (temporary / "engine").replace(target)
    shutil.rmtree(temporary, ignore_errors=True)

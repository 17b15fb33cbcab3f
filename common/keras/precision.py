"""In what a network computes: the precision of its layers, and TF32, by which GPUs of compute capability 8.0 and later
round the factors of float32 products to 10 bits of mantissa (NVIDIA: A100 architecture; TensorFlow itself has it on).

Called before the network is built. What the GPUs do not compute in is refused on all ranks.
"""

from typing import Any, Optional, Protocol

import tensorflow as tf

from common import distributed
from common.errors import UserError
from common.keras.names import keras_policy

Capability = tuple[int, int]

_AMPERE = (8, 0)  # the first with bfloat16 and TF32


class Arithmetic(Protocol):
    """What is needed of settings of training or inference."""

    @property
    def precision(self) -> str: ...


def apply(section: str, settings: Arithmetic) -> None:
    """section: of the settings, training or inference. Raises UserError. A collective call."""
    capabilities = check(section, settings)
    tf.keras.mixed_precision.set_global_policy(keras_policy(settings.precision))
    tf.config.experimental.enable_tensor_float_32_execution(settings.precision == "tf32")
    hint = idle_cores(section, settings, capabilities)
    if hint and distributed.is_root():
        print(hint)


def check(section: str, settings: Arithmetic) -> list[Capability]:
    """The compute capabilities of this rank's GPUs. Raises UserError on every rank if one cannot do what is set."""
    found = [_capability(gpu) for gpu in tf.config.get_visible_devices("GPU")]
    capabilities = [capability for capability in found if capability]
    distributed.raise_together(refused(section, settings.precision, capabilities))
    return capabilities


def refused(section: str, precision: str, capabilities: list[Capability]) -> Optional[UserError]:
    """bfloat16 came with Ampere; before, TensorFlow has no kernels for it, or slow ones."""
    old = [capability for capability in capabilities if capability < _AMPERE]
    if precision != "mixed_bfloat16" or not old:
        return None
    return UserError(
        f"{section}.precision is mixed_bfloat16, in which GPUs of compute capability {'.'.join(map(str, old[0]))} do "
        f"not compute (8.0, A100, and later do): take {section}.precision=mixed_float16"
    )


def idle_cores(section: str, settings: Arithmetic, capabilities: list[Capability]) -> Optional[str]:
    """What float32 without TF32 leaves unused."""
    if settings.precision != "float32" or not any(found >= _AMPERE for found in capabilities):
        return None
    return (
        f"note: float32 is computed in full, without tensor cores; {section}.precision=tf32 or "
        f"{section}.precision=mixed_bfloat16 uses them (docs/how-to/gpu.md)"
    )


def in_words(settings: Arithmetic) -> str:
    return "float32 with TF32" if settings.precision == "tf32" else settings.precision


def _capability(gpu: Any) -> Optional[Capability]:
    """NVIDIA's compute capability; None for what has none."""
    return tf.config.experimental.get_device_details(gpu).get("compute_capability")

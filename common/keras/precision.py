"""The precision in which a network computes: that of its layers, and whether float32 products use TF32.

With TF32, GPUs of compute capability 8.0 and later round the factors of float32 products to 10 bits of mantissa
(NVIDIA, A100 architecture); TensorFlow enables it by default, this program does not. The precision is set before the
network is built. One that a GPU of any rank does not support is refused on all ranks.
"""

from typing import Any, Optional, Protocol

import tensorflow as tf

from common import distributed
from common.errors import UserError
from common.keras.names import keras_policy

Capability = tuple[int, int]

_AMPERE = (8, 0)  # the first compute capability with bfloat16 and TF32


class Arithmetic(Protocol):
    """The part of the training or inference settings that is used here."""

    @property
    def precision(self) -> str: ...


def apply(section: str, settings: Arithmetic) -> None:
    """Set Keras' policy and TF32 for the networks that are built from here on. A collective call.

    Args:
        section: name of the section of settings, "training" or "inference", for messages.
        settings: that section.

    Raises:
        UserError: on every rank if a GPU does not support the precision.
    """
    capabilities = check(section, settings)
    tf.keras.mixed_precision.set_global_policy(keras_policy(settings.precision))
    tf.config.experimental.enable_tensor_float_32_execution(settings.precision == "tf32")
    hint = idle_cores(section, settings, capabilities)
    if hint and distributed.is_root():
        print(hint)


def check(section: str, settings: Arithmetic) -> list[Capability]:
    """Check that this rank's GPUs support the precision, and return their compute capabilities. A collective call.

    Raises:
        UserError: on every rank if a GPU of any rank does not.
    """
    all_capabilities = [_capability(gpu) for gpu in tf.config.get_visible_devices("GPU")]
    capabilities = [capability for capability in all_capabilities if capability]
    distributed.raise_together(refused(section, settings.precision, capabilities))
    return capabilities


def refused(section: str, precision: str, capabilities: list[Capability]) -> Optional[UserError]:
    """Return the error for bfloat16 on GPUs before Ampere, where TensorFlow has no kernels or slow ones; else None."""
    old = [capability for capability in capabilities if capability < _AMPERE]
    if precision != "mixed_bfloat16" or not old:
        return None
    return UserError(
        f"{section}.precision is mixed_bfloat16, which GPUs of compute capability {'.'.join(map(str, old[0]))} do not "
        f"support (8.0, A100, and later do): set {section}.precision=mixed_float16"
    )


def idle_cores(section: str, settings: Arithmetic, capabilities: list[Capability]) -> Optional[str]:
    """Return a note that float32 without TF32 leaves tensor cores idle, where there are any; or None."""
    if settings.precision != "float32" or not any(capability >= _AMPERE for capability in capabilities):
        return None
    return (
        f"note: full float32 does not use the tensor cores; {section}.precision=tf32 or "
        f"{section}.precision=mixed_bfloat16 does (docs/how-to/gpu.md)"
    )


def in_words(settings: Arithmetic) -> str:
    """Describe the precision for messages."""
    return "float32 with TF32" if settings.precision == "tf32" else settings.precision


def _capability(gpu: Any) -> Optional[Capability]:
    """NVIDIA's compute capability; None for other devices."""
    return tf.config.experimental.get_device_details(gpu).get("compute_capability")

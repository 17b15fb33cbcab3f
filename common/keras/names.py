"""The names of precisions in settings. Importing this module does not load TensorFlow."""

from typing import Literal

# Keras' names, and tf32: float32 whose factors GPUs from A100 on round to 10 bits of mantissa before multiplying.
Precision = Literal["float32", "tf32", "mixed_bfloat16", "mixed_float16"]
TF32_IS_A_PRECISION = {
    f"{section}.tf32": f"is a precision: {section}.precision=tf32" for section in ("training", "inference")
}


def keras_policy(precision: str) -> str:
    """Return Keras' policy for a precision; Keras does not distinguish TF32 from float32."""
    return "float32" if precision == "tf32" else precision

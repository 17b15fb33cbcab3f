"""The supported versions of TensorFlow, declared here alone; docs/how-to/install.md says what was run on which."""

from common import startup
from common.errors import UserError

OLDEST, NEWEST = (2, 12), (2, 21)


def check() -> None:
    """Look at the TensorFlow and the Keras here.

    Raises:
        UserError: the version is not supported, or its Keras is not Keras 2.
    """
    import tensorflow as tf

    check_version(str(tf.__version__))
    numbers = _numbers(tf.__version__)
    if numbers >= startup.KERAS_3_SINCE and not tf.keras.Model.__module__.startswith("tf_keras."):
        raise UserError(
            f"TensorFlow {tf.__version__} comes with Keras 3, and this project needs Keras 2: pip install "
            f"'tf-keras=={_text(numbers)}.*', and leave TF_USE_LEGACY_KERAS unset or 1"
        )


def check_version(version: str) -> None:
    """Raises UserError if TensorFlow `version` is not supported."""
    if not OLDEST <= _numbers(version) <= NEWEST:
        raise UserError(
            f"TensorFlow {version} is not supported, {_text(OLDEST)} to {_text(NEWEST)} are: use the Python of `make "
            "venv`, which has its own, or load another (docs/how-to/install.md)"
        )


def _numbers(version: str) -> tuple:
    return tuple(map(int, version.split(".")[:2]))


def _text(version: tuple) -> str:
    return ".".join(map(str, version))

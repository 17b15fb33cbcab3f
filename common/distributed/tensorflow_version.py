"""The versions of TensorFlow that are supported, declared here alone; docs/install.md says what was run on which."""

from typing import Optional

from common.errors import UserError

OLDEST, NEWEST = (2, 12), (2, 15)


def check(version: Optional[str] = None) -> None:
    """Raises UserError if `version`, by default that of the TensorFlow here, is none of them."""
    if version is None:
        import tensorflow as tf

        version = str(tf.__version__)
    if not OLDEST <= tuple(map(int, version.split(".")[:2])) <= NEWEST:
        raise UserError(
            f"TensorFlow {version} is not supported, {_text(OLDEST)} to {_text(NEWEST)} are: use the Python of `make "
            "venv`, which has its own, or load another (docs/install.md)"
        )


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))

"""What has to be set before TensorFlow is imported. `import common` does it, without importing TensorFlow itself.

Keras: networks, optimizers and Horovod 0.28.1 are written for Keras 2. From 2.16 on TensorFlow's own Keras is Keras 3,
and the package tf_keras is Keras 2; TensorFlow reads TF_USE_LEGACY_KERAS once, when it is imported.

Standard streams: where one is closed (`>&-`), the first file that is opened would get its number, and what libraries
print would end up in that file. /dev/null takes its place.

Messages: users need not see TensorFlow's C++ start-up messages (missing CUDA libraries, oneDNN). TF_CPP_MIN_LOG_LEVEL
hides most; TensorFlow 2.21 writes some before it reads that variable, and 2.20 some when it makes a graph's variables
constants. These are filtered out; error messages pass.
"""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Optional

from common.errors import UserError

KERAS_3_SINCE, NOISY_SINCE = (2, 16), (2, 21)
_PACKAGES = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly", "tensorflow-rocm")
# Informational lines in absl's format, and absl's own warning before the first line of any kind.
_INFORMATION = r"^(WARNING: All log messages before absl::InitializeLog\(\)|I0000 )"


def prepare() -> None:
    """Set the environment variables that TensorFlow reads while it is imported.

    Raises:
        UserError: if TensorFlow has already been imported with Keras 3.
    """
    _open_streams()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    numbers = tensorflow_version()
    if numbers is None or numbers < KERAS_3_SINCE or not importlib.util.find_spec("tf_keras"):
        return
    if "tensorflow" in sys.modules and os.environ.get("TF_USE_LEGACY_KERAS") not in ("1", "true", "True"):
        raise UserError(
            "TensorFlow was imported with Keras 3 before this project's packages, which need Keras 2: import "
            "`common` or a benchmark's package before tensorflow, or set TF_USE_LEGACY_KERAS=1"
        )
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    if numbers >= NOISY_SINCE and "tensorflow" not in sys.modules and os.environ["TF_CPP_MIN_LOG_LEVEL"] != "0":
        sys.meta_path.insert(0, _Finder())


def _open_streams() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free, this one
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115 - kept open
            setattr(sys, name, stream)


def tensorflow_version() -> Optional[tuple]:
    """Return the installed TensorFlow's (major, minor) from its package metadata; None if there is none."""
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            return tuple(map(int, version(name).split(".")[:2]))
    return None


class _Finder(MetaPathFinder):
    """Finds TensorFlow where Python does, once, and filters the messages of its import."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads as `loader` does, without start-up messages on standard error."""

    def __init__(self, loader: Any):
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__loader__ = module.__spec__.loader = self.loader
        with without_messages():
            self.loader.exec_module(module)


@contextlib.contextmanager
def without_messages() -> Iterator[None]:
    """Filter TensorFlow's informational lines out of standard error, unless TF_CPP_MIN_LOG_LEVEL is 0.

    By grep, in a process of its own, so that the last lines of a crash still appear.
    """
    import subprocess  # here, so that `import common` stays quick

    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    try:
        error = os.dup(2)
        grep = subprocess.Popen(["grep", "--line-buffered", "-vE", _INFORMATION], stdin=subprocess.PIPE, stdout=error)
    except OSError:  # no standard error, or no grep: unfiltered messages do no harm
        yield
        return
    assert grep.stdin is not None
    sys.stderr.flush()
    os.dup2(grep.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(error, 2)
        os.close(error)
        grep.stdin.close()
        grep.wait()

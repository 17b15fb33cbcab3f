"""What must be so before TensorFlow is imported; `import common` sees to it, and imports no TensorFlow itself.

Keras: networks, optimizers and Horovod 0.28.1 are written for Keras 2. From 2.16 on TensorFlow's own is Keras 3, and
the package tf_keras is Keras 2; TensorFlow looks at TF_USE_LEGACY_KERAS when it is imported, and at no time later.

Messages: TensorFlow's C++ start-up messages (missing CUDA libraries, oneDNN) are no news to users. TF_CPP_MIN_LOG_LEVEL
keeps them out, but 2.21 writes some before it reads that. Those are filtered while it is imported, and errors are not.
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
# Information in absl's format, and what absl says before the first line of any kind.
_NEWS = r"^(WARNING: All log messages before absl::InitializeLog\(\)|I0000 )"


def prepare() -> None:
    """Set the variables that TensorFlow reads while it is imported; call before that.

    Raises:
        UserError: TensorFlow with Keras 3 has been imported already.
    """
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


def tensorflow_version() -> Optional[tuple]:
    """The first two numbers of the TensorFlow that is installed, by its package's records; None if there is none."""
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            return tuple(map(int, version(name).split(".")[:2]))
    return None


class _Finder(MetaPathFinder):
    """Finds TensorFlow where Python finds it, once, and has its import filtered."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads as `loader` does, without news on standard error."""

    def __init__(self, loader: Any):
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__loader__ = module.__spec__.loader = self.loader
        with _without_news():
            self.loader.exec_module(module)


@contextlib.contextmanager
def _without_news() -> Iterator[None]:
    """Filter standard error by grep, a process of its own: the last words of an import that dies still come out."""
    import subprocess  # here, so that `import common` stays quick

    try:
        error = os.dup(2)
        grep = subprocess.Popen(["grep", "--line-buffered", "-vE", _NEWS], stdin=subprocess.PIPE, stdout=error)
    except OSError:  # no standard error, or no grep: better news than none of it
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

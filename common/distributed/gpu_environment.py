"""Environment variables that TensorFlow, Horovod and CUDA's driver read when they start, for ranks that have a GPU.

Set by the program itself, so that they hold on a workstation too; a user's own value is left alone.
"""

import os
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Optional

from common.distributed import cuda

_CACHE_BYTES = 4 * 2**30  # the most that CUDA takes


def prepare(environment: MutableMapping) -> None:
    """Call before TensorFlow and Horovod are loaded. Does nothing without an NVIDIA driver, or with its GPUs hidden."""
    if cuda.hidden(environment) or not cuda.driver_present():
        return
    # Horovod otherwise has a thread wait for NCCL's end before TensorFlow may launch what follows (horovod#2963).
    environment.setdefault("HOROVOD_ENABLE_ASYNC_COMPLETION", "1")
    # TensorFlow's wheels have machine code for compute capabilities up to 8.0 (2.15) or 8.9 (2.20 and 2.21, by
    # tf.sysconfig.get_build_info); on an H100, 9.0, the driver compiles its kernels at first use, for minutes, and
    # keeps them here: the default place is the home, which all nodes share, and its default size is too small.
    if "CUDA_CACHE_PATH" not in environment:
        folder = cache_folder(Path(tempfile.gettempdir()))
        if folder is not None:
            environment["CUDA_CACHE_PATH"] = str(folder)
    environment.setdefault("CUDA_CACHE_MAXSIZE", str(_CACHE_BYTES))
    # CUDA's own pools instead of TensorFlow's allocator, whose memory breaks up into pieces; with either, memory growth
    # takes no more than is needed. TensorFlow aborts where a device has no such pools. Asked last: the driver reads
    # the cache's variables when it starts.
    devices = cuda.ask_driver().devices
    if devices and all(device.has_memory_pools for device in devices):
        environment.setdefault("TF_GPU_ALLOCATOR", "cuda_malloc_async")


def cache_folder(parent: Path) -> Optional[Path]:
    """This user's folder for compiled kernels in a node-local folder that all may write to; None if it is not safe:
    what lies in it is executed on the GPU."""
    folder = parent / f"cuda-cache-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if own else None

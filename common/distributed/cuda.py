"""What NVIDIA's driver and CUDA's libraries say of themselves, without TensorFlow: it lists no GPU where it cannot load
one of its libraries, and says why only in lines that TF_CPP_MIN_LOG_LEVEL=3 hides.

Sources: CUDA's driver API (cuInit, cuDeviceGetUuid_v2, cuDeviceGetAttribute), which obeys CUDA_VISIBLE_DEVICES; the
names and folders that TensorFlow 2.15.1 looks for, seen with LD_DEBUG=libs and in its RUNPATH.
"""

import ctypes
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

_VERSION_FILE = Path("/proc/driver/nvidia/version")
_MEMORY_POOLS_SUPPORTED = 115  # CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED

# By CUDA's major version: names in an order in which each finds those that it needs.
_LIBRARIES = {
    11: ("cudart.so.11.0", "cublasLt.so.11", "cublas.so.11", "cufft.so.10", "cusparse.so.11", "cusolver.so.11"),
    12: ("cudart.so.12", "cublasLt.so.12", "cublas.so.12", "cufft.so.11", "cusparse.so.12", "cusolver.so.11"),
}


class Device(NamedTuple):
    """A GPU, or an instance of one under MIG, that this process may use. uuid: empty if the driver does not tell."""

    uuid: str
    has_memory_pools: bool  # what cudaMallocAsync needs


class Driver(NamedTuple):
    """problem: why it shows no devices, if it does not."""

    devices: list[Device]
    problem: str


def hidden(environment: Mapping) -> bool:
    """Whether the user, or a scheduler, has left this process no GPU by CUDA_VISIBLE_DEVICES."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return visible is not None and visible.split(",")[0].strip() in ("", "-1", "NoDevFiles")


@lru_cache(maxsize=1)
def driver_present() -> bool:
    """Whether this node has NVIDIA's kernel driver, or an nvidia-smi that finds GPUs (as under WSL, without /proc)."""
    if _VERSION_FILE.exists():
        return True
    if not shutil.which("nvidia-smi"):
        return False
    try:
        found = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and "GPU " in found.stdout


def ask_driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """The devices of this process, in CUDA's order, without making a context on any of them."""
    try:
        library = load("libcuda.so.1")
    except OSError:
        return Driver([], "the driver's libcuda.so.1 cannot be loaded (a container started without its GPUs?)")
    code, count = library.cuInit(0), ctypes.c_int(0)
    if code == 0:
        code = library.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        return Driver([], f"the driver shows this process no GPU (cuInit: {code}; did the job ask for GPUs?)")
    return Driver([_device(library, ordinal) for ordinal in range(count.value)], "")


def _device(library: Any, ordinal: int) -> Device:
    handle, pools = ctypes.c_int(0), ctypes.c_int(0)
    number = ctypes.create_string_buffer(16)
    if library.cuDeviceGet(ctypes.byref(handle), ordinal):
        return Device("", False)
    library.cuDeviceGetAttribute(ctypes.byref(pools), _MEMORY_POOLS_SUPPORTED, handle)
    # Under MIG the second version gives the instance's own, the first one that of the whole GPU.
    ask = getattr(library, "cuDeviceGetUuid_v2", None)
    known = ask is not None and ask(ctypes.byref(number), handle) == 0 and any(number.raw)
    return Device(str(uuid.UUID(bytes=number.raw)) if known else "", bool(pools.value))


def wanted_libraries(build: Mapping) -> list[str]:
    """File names that a TensorFlow of this tf.sysconfig.get_build_info() loads."""
    major = str(build.get("cuda_version", "")).split(".")[0]
    names = _LIBRARIES.get(int(major), ()) if major.isdigit() else ()
    cudnn = str(build.get("cudnn_version", "")).split(".")[0]
    return [f"lib{name}" for name in (*names, *([f"cudnn.so.{cudnn}"] if cudnn else []))]


def missing(names: list[str], site_packages: Path, load: Callable[[str], Any] = ctypes.CDLL) -> list[str]:
    """Those of the libraries that cannot be loaded, looked for as TensorFlow does: in the folders of pip's packages
    nvidia-*, then wherever the dynamic linker looks."""
    return [name for name in names if not loads(name, list(site_packages.glob(f"nvidia/*/lib/{name}")), load)]


def loads(name: str, places: list[Path], load: Callable[[str], Any] = ctypes.CDLL) -> bool:
    for candidate in (*map(str, places), name):
        try:
            load(candidate)
            return True
        except OSError:
            continue
    return False


def why_unseen(build: Mapping, absent: list[str], driver: Driver) -> Optional[str]:
    """What keeps TensorFlow from GPUs on a node that has NVIDIA's driver; None for one that was built without CUDA."""
    if not build.get("is_cuda_build"):
        return None
    if absent:
        built_for = f"CUDA {build.get('cuda_version')}, cuDNN {build.get('cudnn_version')}"
        return (
            f"{', '.join(absent)} cannot be loaded (it was built for {built_for}): `make venv GPU=1` installs them, "
            "or load the site's modules"
        )
    if driver.problem:
        return driver.problem
    return (
        f"the driver shows {len(driver.devices)} and all libraries load: TF_CPP_MIN_LOG_LEVEL=0 shows TensorFlow's "
        "own reason (a driver too old for its CUDA?)"
    )

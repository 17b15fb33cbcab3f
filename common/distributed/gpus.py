"""The ranks' GPUs, compared: one GPU a rank, all of one kind, or it is said."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional

from common.distributed import cuda
from common.errors import UserError

Capability = tuple[int, int]


class Gpu(NamedTuple):
    """A rank's GPU. uuid: empty if unknown; under MIG that of the instance."""

    host: str
    model: str
    capability: Optional[Capability]
    uuid: str

    @property
    def kind(self) -> str:
        if self.capability is None:
            return self.model
        return f"{self.model} (compute capability {'.'.join(map(str, self.capability))})"


def number(name: str) -> int:
    """Of a device of TensorFlow's, such as /physical_device:GPU:3, as CUDA counts what this process sees."""
    return int(name.rsplit(":", 1)[1])


def look(device: Any, seen: int) -> Gpu:
    """What there is to know of TensorFlow's physical device, one of `seen`."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(device)
    devices = cuda.ask_driver().devices
    # TensorFlow leaves out GPUs that are too slow or too old for it; then its numbers are not CUDA's.
    uuid = devices[number(device.name)].uuid if len(devices) == seen else ""
    model = details.get("device_name", device.name)
    return Gpu(socket.gethostname(), model, details.get("compute_capability"), uuid)


def unseen(environment: Mapping) -> Optional[UserError]:
    """The error of a rank for which TensorFlow lists no GPU though the node has some."""
    if cuda.hidden(environment) or not cuda.driver_present():
        return None
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    absent = cuda.missing(cuda.wanted_libraries(build), Path(tf.__file__).parents[1])
    why = cuda.why_unseen(build, absent, cuda.ask_driver())
    if why is None:
        return None
    return UserError(
        f"{socket.gethostname()} has an NVIDIA driver, but TensorFlow sees no GPU: {why}; to compute on CPUs set "
        "CUDA_VISIBLE_DEVICES= (empty)"
    )


def twice_used(gpus: list[Optional[Gpu]]) -> Optional[UserError]:
    """The error if two ranks have one GPU, which NCCL refuses. One whose identity is not known is nobody else's."""
    owners: dict[tuple[str, str], int] = {}
    for rank, gpu in enumerate(gpus):
        if gpu is None or not gpu.uuid:
            continue
        owner = owners.setdefault((gpu.host, gpu.uuid), rank)
        if owner != rank:
            return UserError(
                f"ranks {owner} and {rank} have the same GPU of {gpu.host}, {gpu.model} ({gpu.uuid}): start at most "
                "one rank per GPU (-np), or let each rank see another one (CUDA_VISIBLE_DEVICES, the scheduler's "
                "binding of GPUs to tasks)",
                on_all_ranks=True,
            )
    return None


def describe(gpus: list[Optional[Gpu]]) -> str:
    """The devices of all ranks: 4 x NVIDIA A100 (compute capability 8.0), or CPUs."""
    kinds = _ranks_by_kind(gpus)
    if list(kinds) == ["CPU"]:
        return "CPUs"
    return ", ".join(f"{len(ranks)} x {kind}" for kind, ranks in kinds.items())


def unused(environment: Mapping) -> str:
    """What to say behind "CPUs" on a node with GPUs whose TensorFlow was made without CUDA; empty elsewhere."""
    import tensorflow as tf

    if cuda.hidden(environment) or not cuda.driver_present() or tf.test.is_built_with_cuda():
        return ""
    return " (there is an NVIDIA driver, but this TensorFlow was built without CUDA)"


def difference(gpus: list[Optional[Gpu]]) -> Optional[str]:
    """A warning if not all ranks compute on one kind of device: the slowest sets the pace of all."""
    kinds = _ranks_by_kind(gpus)
    if len(kinds) < 2:
        return None
    parts = [
        f"{kind} on rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks[:8]))}{' ...' * (len(ranks) > 8)}"
        for kind, ranks in kinds.items()
    ]
    return f"warning: the ranks have different devices, and the slowest sets the pace: {'; '.join(parts)}"


def _ranks_by_kind(gpus: list[Optional[Gpu]]) -> dict[str, list[int]]:
    kinds: dict[str, list[int]] = {}
    for rank, gpu in enumerate(gpus):
        kinds.setdefault(gpu.kind if gpu else "CPU", []).append(rank)
    return kinds

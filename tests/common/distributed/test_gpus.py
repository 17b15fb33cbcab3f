"""Which GPU a rank has, without one: the driver and libraries are made up, TensorFlow's list of devices is forced."""

import ctypes
import subprocess
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from common.distributed import cuda, gpus, placement
from common.errors import UserError
from tests.helpers import ROOT, command, environment, errors

BUILD = {"is_cuda_build": True, "cuda_version": "12.2", "cudnn_version": "8"}
FIRST, SECOND = (uuid.UUID(int=number) for number in (1, 2))


class MadeUpDriver:
    """libcuda.so.1 with these GPUs; the arguments of its functions are ctypes' references."""

    def __init__(self, uuids: list, pools: int = 1, code: int = 0):
        self._uuids, self._pools, self._code = uuids, pools, code

    def cuInit(self, flags):  # noqa: N802 - CUDA's names
        return self._code

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = len(self._uuids)
        return 0

    def cuDeviceGet(self, handle, ordinal):  # noqa: N802
        handle._obj.value = ordinal
        return 0

    def cuDeviceGetAttribute(self, value, attribute, handle):  # noqa: N802
        assert attribute == 115
        value._obj.value = self._pools
        return 0

    def cuDeviceGetUuid_v2(self, number, handle):  # noqa: N802
        ctypes.memmove(number._obj, self._uuids[handle.value].bytes, 16)
        return 0


@pytest.fixture
def a_driver(monkeypatch):
    monkeypatch.setattr(cuda, "driver_present", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_driver_is_asked_for_its_devices():
    found = cuda.ask_driver(lambda name: MadeUpDriver([FIRST, SECOND], pools=0))
    assert found.devices == [cuda.Device(str(FIRST), False), cuda.Device(str(SECOND), False)]
    assert cuda.ask_driver(lambda name: MadeUpDriver([uuid.UUID(int=0)])).devices[0].uuid == ""
    assert "shows this process no GPU (cuInit: 100;" in cuda.ask_driver(lambda name: MadeUpDriver([], code=100)).problem


def test_this_machine_s_driver_is_asked_without_harm():
    driver = cuda.ask_driver()
    assert bool(driver.devices) != bool(driver.problem)


def loader(absent: set):
    def load(name: str):
        if Path(name).name in absent:
            raise OSError(name)

    return load


def test_libraries_that_cannot_be_loaded_are_named(tmp_path):
    wanted = cuda.wanted_libraries(BUILD)
    assert wanted[0] == "libcudart.so.12"
    assert wanted[-1] == "libcudnn.so.8"
    absent = cuda.missing(wanted, tmp_path, loader({"libcudnn.so.8", "libcufft.so.11"}))
    assert absent == ["libcufft.so.11", "libcudnn.so.8"]
    why = cuda.why_unseen(BUILD, absent, cuda.Driver([], ""))
    assert why.startswith("libcufft.so.11, libcudnn.so.8 cannot be loaded (it was built for CUDA 12.2, cuDNN 8): `make")


def test_pip_s_folders_are_looked_into_first(tmp_path):
    place = tmp_path / "nvidia" / "cudnn" / "lib" / "libcudnn.so.8"
    place.parent.mkdir(parents=True)
    place.touch()
    tried = []
    assert cuda.missing(["libcudnn.so.8"], tmp_path, tried.append) == []
    assert tried == [str(place)]


def test_why_no_gpu_is_seen_where_all_libraries_load():
    assert cuda.why_unseen(BUILD, [], cuda.Driver([], "the reason")) == "the reason"
    assert "the driver shows 1 and all libraries load" in cuda.why_unseen(BUILD, [], cuda.Driver([None], ""))
    assert cuda.why_unseen({"is_cuda_build": False}, [], cuda.Driver([], "x")) is None


@pytest.mark.parametrize(("value", "expected"), [("", True), ("-1", True), ("NoDevFiles", True), ("0,1", False)])
def test_gpus_hidden_by_the_user(value, expected):
    assert cuda.hidden({"CUDA_VISIBLE_DEVICES": value}) is expected
    assert cuda.hidden({}) is False


def test_a_driver_and_no_gpu_seen_is_an_error_unless_gpus_are_hidden(a_driver, monkeypatch):
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: BUILD)
    monkeypatch.setattr(cuda, "missing", lambda names, places: ["libcudnn.so.8"])
    message = (
        r"has an NVIDIA driver, but TensorFlow sees no GPU: libcudnn.so.8 cannot be loaded .*CUDA_VISIBLE_DEVICES="
    )
    with pytest.raises(UserError, match=message):
        placement._with_gpus(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert placement._with_gpus(1) == placement.Placement(1, None, "CPUs")


def test_a_tensorflow_without_cuda_says_so_behind_the_devices(a_driver, monkeypatch):
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: {"is_cuda_build": False})
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: False)
    assert placement._with_gpus(1).devices.endswith("but this TensorFlow was built without CUDA)")


def gpu(rank: int, model: str = "A100", capability=(8, 0), host: str = "n1") -> gpus.Gpu:
    return gpus.Gpu(host, model, capability, f"uuid {rank}")


def test_two_ranks_on_one_gpu_are_named():
    same = gpus.twice_used([gpu(0), gpu(1), gpu(1)])
    assert str(same).startswith("ranks 1 and 2 have the same GPU of n1, A100 (uuid 1): start at most one rank per GPU")
    assert same.on_all_ranks


def test_no_false_alarm_for_unknown_gpus_instances_and_other_hosts():
    unknown = gpu(0)._replace(uuid="")
    instances = [gpu(0)._replace(uuid=f"MIG {number}") for number in (1, 2)]
    assert gpus.twice_used([unknown, unknown, None, None, *instances, gpu(7), gpu(7, host="n2")]) is None


def test_devices_in_words_and_ranks_that_differ():
    assert gpus.describe([gpu(0), gpu(1)]) == "2 x A100 (compute capability 8.0)"
    assert gpus.describe([None, None]) == "CPUs"
    assert gpus.difference([gpu(0), gpu(1)]) is None
    said = gpus.difference([gpu(0), gpu(1, "V100", (7, 0)), gpu(2), None])
    assert "A100 (compute capability 8.0) on ranks 0, 2; V100 (compute capability 7.0) on rank 1; CPU on rank 3" in said


def test_identity_is_unknown_where_tensorflow_leaves_gpus_out(monkeypatch):
    monkeypatch.setattr(cuda, "ask_driver", lambda: cuda.Driver([cuda.Device("a", True), cuda.Device("b", True)], ""))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: {"device_name": "T"})
    device = SimpleNamespace(name="/physical_device:GPU:1")
    assert gpus.look(device, seen=2)[1:] == ("T", None, "b")
    assert gpus.look(device, seen=1).uuid == ""


ONE_GPU = """
import tensorflow as tf
from common import distributed
from common.distributed import cuda
from common.cli.program import run_program
gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
tf.config.list_physical_devices = lambda kind: [gpu]
tf.config.set_visible_devices = tf.config.experimental.set_memory_growth = lambda *_: None
tf.config.experimental.get_device_details = lambda _: {"device_name": "T4", "compute_capability": (7, 5)}
cuda.ask_driver = lambda: cuda.Driver([cuda.Device("one", True)], "")
run_program(lambda: print(distributed.init()) or 0)
"""


def test_two_real_ranks_that_see_one_gpu_stop_with_one_line():
    done = subprocess.run(
        command("-c", ONE_GPU, ranks=2), env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    (line,) = errors(done.stderr)
    assert "ranks 0 and 1 have the same GPU of" in line


def test_one_rank_takes_the_only_gpu(a_driver, monkeypatch):
    only = gpu(0)
    monkeypatch.setattr(placement, "_own_gpu", lambda: ("/physical_device:GPU:0", only))
    assert placement._with_gpus(3) == placement.Placement(3, "/physical_device:GPU:0", f"1 x {only.kind}")

"""What is set in the environment of ranks with a GPU, before anything reads it; the driver is made up."""

import os

import pytest

from common.distributed import cuda, gpu_environment


@pytest.fixture
def a_driver(monkeypatch):
    monkeypatch.setattr(cuda, "driver_present", lambda: True)


def test_gpu_variables_are_set_once_and_a_user_s_own_are_kept(a_driver, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_environment.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(cuda, "ask_driver", lambda: cuda.Driver([cuda.Device("a", True)], ""))
    variables = {"HOROVOD_ENABLE_ASYNC_COMPLETION": "0"}
    gpu_environment.prepare(variables)
    assert variables == {
        "HOROVOD_ENABLE_ASYNC_COMPLETION": "0",
        "CUDA_CACHE_PATH": str(tmp_path / f"cuda-cache-{os.getuid()}"),
        "CUDA_CACHE_MAXSIZE": "4294967296",
        "TF_GPU_ALLOCATOR": "cuda_malloc_async",
    }


def test_an_allocator_that_would_abort_is_not_chosen(a_driver, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_environment.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(cuda, "ask_driver", lambda: cuda.Driver([cuda.Device("a", False)], ""))
    variables: dict = {}
    gpu_environment.prepare(variables)
    assert "TF_GPU_ALLOCATOR" not in variables


def test_without_gpus_no_variable_is_set(a_driver, monkeypatch):
    variables = {"CUDA_VISIBLE_DEVICES": ""}
    gpu_environment.prepare(variables)
    assert variables == {"CUDA_VISIBLE_DEVICES": ""}
    monkeypatch.setattr(cuda, "driver_present", lambda: False)
    variables = {}
    gpu_environment.prepare(variables)
    assert variables == {}


def test_a_kernel_cache_that_others_may_write_to_is_not_used(tmp_path):
    folder = gpu_environment.cache_folder(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert gpu_environment.cache_folder(tmp_path) is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert gpu_environment.cache_folder(tmp_path) is None

"""`make venv GPU=1` in earnest, with the CUDA compiler from PyPI: Horovod with NCCL, on a machine without any GPU.

Downloads 2.5 GB and compiles for minutes: `python -m pytest -m build`. GPU_VENV=FOLDER takes one that is already built.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.training import checkpoints
from tests.helpers import ROOT
from tests.tf_deepcam.samples import TINY, write_samples

pytestmark = [pytest.mark.build, pytest.mark.timeout(7200)]


def done(*call, timeout: int = 600, **env: str) -> str:
    """The output of a program that ends well."""
    result = subprocess.run(
        list(map(str, call)),
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def venv(tmp_path_factory) -> Path:
    if os.environ.get("GPU_VENV"):
        return Path(os.environ["GPU_VENV"]).resolve()
    folder = tmp_path_factory.mktemp("gpu")
    call = [sys.executable, "-m", "pip", "download", "--no-deps", "nvidia-cuda-crt==13.0.88", "-d", str(folder)]
    if subprocess.run(call, capture_output=True, timeout=300).returncode:
        pytest.skip("PyPI's nvidia-cuda-crt cannot be had: no network?")
    output = done(
        "make", "venv", f"VENV={folder}/venv", "GPU=1", timeout=7000, CUDA_FROM_PYPI="1", HOROVOD_WITHOUT_MPI="1"
    )
    assert "CUDA 13.0 compiler, from PyPI" in output
    return folder / "venv"


def test_horovod_has_nccl_and_it_is_tensorflow_s(venv):
    assert "[X] NCCL" in done(venv / "bin" / "horovodrun", "--check-build")
    program = "import horovod.tensorflow as hvd; assert hvd.nccl_built(); print(open('/proc/self/maps').read())"
    libraries = set(re.findall(r"\S*/libnccl\S*", done(venv / "bin" / "python", "-c", program)))
    assert len(libraries) == 1
    assert "/site-packages/nvidia/nccl/lib/libnccl.so.2" in libraries.pop()


def test_two_ranks_train_with_it_on_cpus(venv, tmp_path):
    write_samples(tmp_path / "data", 4, 2)
    program = [venv / "bin" / "python", "-m", "tf_deepcam", "train", *TINY, f"data.data_dir_prefix={tmp_path}/data"]
    program += [f"output.folder={tmp_path}", "output.run_name=gpu", "training.max_epochs=2"]
    path = f"{venv}/bin:{os.environ['PATH']}"
    done(venv / "bin" / "horovodrun", "--gloo", "-np", 2, *program, PATH=path, PYTHONPATH=str(ROOT))
    assert checkpoints.list_steps(tmp_path / "gpu" / "checkpoints") == [1, 2]  # an update of 4 samples an epoch


def test_its_graphs_have_gpu_kernels(venv):
    call = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_gpu_kernels.py")
    assert re.search(r"\d+ passed", done(venv / "bin" / "python", *call))  # and not all skipped

"""jobs/install.sh on machines that lack something (one line that says what to install, and nothing made), and which
CUDA compiler it takes on which machine, with stand-ins for pip and nvcc; test_gpu_build.py builds in earnest."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from jobs import horovod_edits
from tests.helpers import ROOT

TOOLS = ("bash", "cat", "cut", "dirname", "grep", "paste", "sed", "tail")
ALL_TOOLS = (*TOOLS, "cp", "env", "id", "ln", "mkdir", "mktemp", "nproc", "rm", "sha256sum", "sort", "tee", "touch")
# What jobs/horovod.sh asks its Python: version, headers, and what TensorFlow was compiled from and with.
TENSORFLOW = "printf '%s\\n' 2.20.0 /include v2.20.0 13.3"


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
    path.chmod(0o755)


def install(folder: Path, programs: dict, *gpu: str, tools: tuple = TOOLS, **env) -> subprocess.CompletedProcess:
    """Run it with nothing on PATH but a few tools and `programs`, {name: shell text}."""
    path = folder / "bin"
    for name, text in programs.items():
        script(path / name, text)
    path.mkdir(exist_ok=True)
    for tool in tools:
        os.symlink(shutil.which(tool), path / tool)
    call = [str(path / "bash"), str(ROOT / "jobs" / "install.sh"), str(folder / "venv"), *gpu]
    env = {"PATH": str(path), "HOROVOD_CACHE": "", **env}
    return subprocess.run(call, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ({}, "install: no C++ compiler found, and Horovod needs one: install g++"),
        ({"g++": "exit 0"}, "install: no Python 3.9 to 3.13 with venv found: install one"),
        # a Python that is there but does not fit, and a wrapper that refuses to run
        ({"c++": "exit 0", "python3": "exit 1", "python3.11": "exit 127"}, "install: no Python 3.9 to 3.13 with venv"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, programs, message):
    done = install(tmp_path, programs)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(message)
    assert not (tmp_path / "venv").exists()


def test_a_newer_python_than_tensorflow_has_packages_for_is_named(tmp_path):
    pretend = "import sys; sys.version_info = (3, 14, 0); exec(sys.argv[1])"
    newer = f'case "$2" in *sys.exit*) exit 1 ;; esac; exec {sys.executable} -c "{pretend}" "$2"'
    done = install(tmp_path, {"g++": "exit 0", "python3": newer})
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "no Python 3.9 to 3.13 with venv found (python3 is 3.14, newer than TensorFlow 2.20.0 has" in done.stderr


def test_a_tensorflow_that_is_in_no_set_is_one_line(tmp_path):
    done = install(tmp_path, {"g++": "exit 0", "python3": "exit 0"}, TENSORFLOW="2.19")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "TENSORFLOW=2.19 is not one of the tested versions, 2.20.0 2.15.1 2.21.0: use one of these" in done.stderr


def nvcc(top: Path, release: str, architecture: int) -> str:
    """Shell text of a compiler that lies in `top`/bin."""
    return f"""case $1 in
        --version) echo 'Cuda compilation tools, release {release}, V{release}.1' ;;
        --list-gpu-arch) echo compute_{architecture}; echo compute_90 ;;
        --dryrun) echo '#$ TOP={top}/bin/..' >&2 ;;
    esac"""


def gpu_install(folder: Path, programs: dict, **env) -> tuple:
    """(its output, {name: value} in the environment of the last pip) with a Python whose virtual environment holds
    stand-ins: a pip that lays out a CUDA 13 toolkit where it is asked for one."""
    nccl = folder / "venv" / "nccl"
    script(folder / "fakes" / "nvcc", nvcc(folder / "unused", "13.0", 75))
    script(
        folder / "fakes" / "pip",
        f"""if [ "$4" = --target ]; then
            mkdir -p "$5/nvidia/cu13/lib" "$5/nvidia/cu13/bin" && : >"$5/nvidia/cu13/lib/libcudart.so.13"
            cp {folder}/fakes/nvcc "$5/nvidia/cu13/bin"
        fi
        env >{folder}/environment
        [ ! -e "${{HOROVOD_CUDA_HOME:-}}/lib64/libcudart.so" ] || echo WHOLE=1 >>{folder}/environment
        [ ! -L {nccl}/lib/libnccl.so ] || echo LINKED=1 >>{folder}/environment""",
    )
    script(folder / "fakes" / "python", f'case "$*" in *tensorflow*) {TENSORFLOW} ;; *) echo {nccl} ;; esac')
    script(folder / "fakes" / "horovodrun", 'for name in TensorFlow Gloo NCCL; do echo "  [X] $name"; done')
    venv = f'[ "$1" != -m ] || {{ mkdir -p "$3/bin" {nccl}/lib; cp {folder}/fakes/* "$3/bin"; rm "$3/bin/nvcc"; }}'
    done = install(folder, {"g++": "exit 0", "python3": venv, **programs}, "1", tools=ALL_TOOLS, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (folder / "environment").read_text().splitlines()
    return done.stdout, dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("", {"tensorflow==2.20.0", "tf-keras==2.20.1", "protobuf==5.29.6"}),
        ("2.20", {"tensorflow==2.20.0", "tf-keras==2.20.1", "protobuf==5.29.6"}),
        ("2.15.1", {"tensorflow==2.15.1", 'tf-keras==2.15.1; python_version < "3"', "protobuf==4.25.8"}),
        ("2.21", {"tensorflow==2.21.0", "tf-keras==2.21.0", "protobuf==6.33.6"}),
    ],
)
def test_a_set_s_lines_stand_in_place_of_the_usual_ones(tmp_path, version, expected):
    asked = tmp_path / "asked"
    script(tmp_path / "fakes" / "pip", f'case "$*" in *stdin*) cat >>{asked}; echo --- >>{asked} ;; esac')
    script(tmp_path / "fakes" / "python", TENSORFLOW)
    script(tmp_path / "fakes" / "horovodrun", 'for name in TensorFlow Gloo; do echo "  [X] $name"; done')
    venv = f'[ "$1" != -m ] || {{ mkdir -p "$3/bin"; cp {tmp_path}/fakes/* "$3/bin"; }}'
    done = install(tmp_path, {"g++": "exit 0", "python3": venv}, tools=ALL_TOOLS, TENSORFLOW=version)
    assert done.returncode == 0, done.stdout + done.stderr
    first, others = asked.read_text().split("---\n")[:2]
    assert expected <= set(first.splitlines())
    assert {line.split("==")[0] for line in first.splitlines()} == {"tensorflow", "tf-keras", "numpy", "protobuf"}
    assert expected <= set(others.splitlines())  # again, so that pip keeps to them
    assert sum(line.startswith("tensorflow==") for line in others.splitlines()) == 1
    stamps = {path.name for path in (tmp_path / "venv").glob(".installed-*")}
    assert stamps == ({".installed-cpu", f".installed-cpu-{version}"} if version else {".installed-cpu"})


@pytest.mark.parametrize("asked", [{}, {"CUDA_FROM_PYPI": "1", "CUDA_HOME": "/nowhere"}])
def test_without_a_cuda_toolkit_pypi_s_compiler_is_taken(tmp_path, asked):
    output, environment = gpu_install(tmp_path, {}, **asked)
    cuda = tmp_path / "venv" / "cuda" / "nvidia" / "cu13"
    assert f"CUDA 13.0 compiler, from PyPI ({cuda}): runs with NVIDIA driver 580 or newer, on GPUs of compute" in output
    assert "of compute capability 7.5 or newer" in output
    assert (environment["HOROVOD_CUDA_HOME"], environment["WHOLE"]) == (str(cuda), "1")
    assert environment["HOROVOD_BUILD_CUDA_CC_LIST"] == "75,80,86,89,90"
    assert environment["PATH"].startswith(f"{cuda}/bin:")
    assert not (tmp_path / "venv" / "cuda").exists()


@pytest.mark.parametrize("by", ["PATH", "CUDA_HOME"])
def test_the_machine_s_own_toolkit_goes_first(tmp_path, by):
    site = tmp_path / "site"
    script(site / "bin" / "nvcc", nvcc(site, "12.4", 50))
    # what lies on PATH is a script elsewhere that calls the compiler
    programs, asked = {"nvcc": f'exec {site}/bin/nvcc "$@"'}, {}
    if by == "CUDA_HOME":
        programs, asked = {"nvcc": "exit 1"}, {"CUDA_HOME": str(site)}
    output, environment = gpu_install(tmp_path, programs, **asked)
    assert f"CUDA 12.4 compiler, the machine's own ({site}): runs with NVIDIA driver 525 or newer, on GPUs" in output
    assert "of compute capability 5.0 or newer" in output
    assert environment["HOROVOD_CUDA_HOME"] == str(site)
    assert "HOROVOD_BUILD_CUDA_CC_LIST" not in environment  # all that this nvcc knows


def test_horovod_is_compiled_with_tensorflow_s_nccl_and_the_headers_that_it_lacks(tmp_path):
    _, environment = gpu_install(tmp_path, {}, HOROVOD_BUILD_CUDA_CC_LIST="80,90")
    nccl = str(tmp_path / "venv" / "nccl")
    assert (environment["HOROVOD_GPU_OPERATIONS"], environment["HOROVOD_NCCL_HOME"]) == ("NCCL", nccl)
    assert (environment["LDFLAGS"].strip(), environment["LINKED"]) == (f"-Wl,-rpath,{nccl}/lib", "1")
    assert environment["CXXFLAGS"].strip() == "-include cstdint -include stdexcept -include string"
    assert environment["HOROVOD_BUILD_CUDA_CC_LIST"] == "80,90"


def test_zero_switches_off(tmp_path):
    """GPU=0 is what many write for "none"; an empty list of GPUs must not reach Horovod, which reads a number in it."""
    switches = {"SYSTEM_TENSORFLOW": "0", "CUDA_HOME": "/nowhere", "HOROVOD_BUILD_CUDA_CC_LIST": ""}
    script(tmp_path / "fakes" / "pip", f"env >{tmp_path}/environment")
    script(tmp_path / "fakes" / "python", TENSORFLOW)
    script(tmp_path / "fakes" / "horovodrun", 'for name in TensorFlow Gloo; do echo "  [X] $name"; done')
    venv = f'[ "$1" != -m ] || {{ mkdir -p "$3/bin"; cp {tmp_path}/fakes/* "$3/bin"; }}'
    done = install(tmp_path, {"g++": "exit 0", "python3": venv}, "0", tools=ALL_TOOLS, **switches)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "venv" / ".installed-cpu").exists()
    assert "HOROVOD_BUILD_CUDA_CC_LIST" not in (tmp_path / "environment").read_text()
    makefile = subprocess.run(["make", "-pn", "GPU=0"], cwd=ROOT, capture_output=True, text=True)
    assert "INSTALLED := .venv/.installed-cpu\n" in makefile.stdout


def test_a_wrong_cuda_home_is_one_line_before_anything_is_installed(tmp_path):
    done = install(tmp_path, {"g++": "exit 0", "python3": "exit 0"}, "1", CUDA_HOME="/nowhere")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith("install: CUDA_HOME is /nowhere, which has no bin/nvcc: correct it, or set")


def system_install(folder: Path, version: str, *, has_horovod: bool = False) -> tuple:
    """(what it did, {package: wanted by the last pip}) on a `python` with a stand-in for TensorFlow of that version."""
    library = folder / "library"
    modules = {
        "tensorflow": f"""__version__ = '{version}'
class sysconfig: get_include = staticmethod(lambda: '/include')
class version: GIT_VERSION = COMPILER_VERSION = 'known'""",
        "numpy": "__version__ = '1.23.5'; ndarray = None",
        "google/protobuf": "__version__ = '4.25.9'",
        "horovod": "__version__ = '0.28.1'",
        "horovod/tensorflow": "" if has_horovod else "raise ImportError",
    }
    for name, text in modules.items():
        (library / name).mkdir(parents=True)
        (library / name / "__init__.py").write_text(text)
    with tarfile.open(folder / "horovod-0.28.1.tar.gz", "w:gz") as archive:
        for edit in horovod_edits.EDITS:
            member = tarfile.TarInfo(f"horovod-0.28.1/{edit.file}")
            member.size = len(edit.old)
            archive.addfile(member, io.BytesIO(edit.old.encode()))
    # Its virtual environment has this Python with that library, and a pip that keeps what it was asked for.
    python = f'PYTHONPATH={library} exec {sys.executable} -S "$@"'
    script(folder / "fakes" / "python", python)
    script(
        folder / "fakes" / "pip",
        f"""echo "pip $*" >>{folder}/asked
        case "$*" in
            *"-r /dev/stdin"*) cat >>{folder}/asked ;;
            download*) cp {folder}/horovod-0.28.1.tar.gz "${{@: -2:1}}" ;;
        esac
        env >{folder}/environment""",
    )
    script(folder / "fakes" / "horovodrun", 'for name in TensorFlow Gloo MPI; do echo "  [X] $name"; done')
    base = f"""if [ "$1 $2" = "-m venv" ]; then
        echo "$*" >{folder}/venv-options
        for last; do :; done
        mkdir -p "$last/bin" && cp {folder}/fakes/* "$last/bin"
    else
        PYTHONPATH={library} exec {sys.executable} -S "$@"
    fi"""
    programs = {"g++": "exit 0", "python": base, "mpicxx": "exit 0", "horovodrun": "exit 0"}
    done = install(folder, programs, tools=ALL_TOOLS, SYSTEM_TENSORFLOW="1")
    asked = (folder / "asked").read_text() if (folder / "asked").exists() else ""
    return done, asked


def test_the_machine_s_tensorflow_numpy_and_protobuf_stay(tmp_path):
    done, asked = system_install(tmp_path, "2.12.1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Kept as they are: the machine's TensorFlow 2.12.1, numpy 1.23.5, protobuf 4.25.9" in done.stdout
    assert (tmp_path / "venv-options").read_text().startswith("-m venv --system-site-packages ")
    assert (tmp_path / "venv" / "system.txt").read_text() == "numpy==1.23.5\nprotobuf==4.25.9\n"
    assert f"-c {tmp_path}/venv/system.txt" in asked
    wanted = [line.split("==")[0] for line in asked.splitlines() if "==" in line and not line.startswith("pip")]
    assert {"tensorflow", "numpy", "protobuf", "horovod", "tf-keras"}.isdisjoint(wanted)
    assert {"h5py", "pydantic", "tensorflow-addons"} <= set(wanted)
    assert asked.splitlines()[-1].endswith(" horovod==0.28.1")


def test_beside_a_tensorflow_with_keras_3_is_the_keras_2_of_its_version(tmp_path):
    done, asked = system_install(tmp_path, "2.17.0+nv25.2", has_horovod=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = asked.splitlines()
    assert "tf-keras==2.17.*" in lines
    assert [line for line in lines if line.startswith(("numba", "scipy"))]  # whatever fits its NumPy
    assert [line for line in lines if line.startswith(("numba=", "scipy=", "tf-keras==2.20"))] == []


def test_a_horovod_that_works_with_it_stays_too(tmp_path):
    done, asked = system_install(tmp_path, "2.15.0", has_horovod=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "  and Horovod 0.28.1" in done.stdout
    assert "horovod==" not in asked.splitlines()[-1]


@pytest.mark.parametrize("version", ["2.11.1", "2.22.0"])
def test_a_tensorflow_out_of_the_range_is_one_line_and_nothing_is_made(tmp_path, version):
    done, asked = system_install(tmp_path, version)
    assert (done.returncode, len(done.stderr.splitlines()), asked) == (1, 1, "")
    assert done.stderr.startswith(f"install: TensorFlow {version} is not supported, 2.12 to 2.21 are: ")
    assert not (tmp_path / "venv").exists()


def test_a_python_without_tensorflow_is_one_line(tmp_path):
    done = install(tmp_path, {"g++": "exit 0", "python": "exit 1"}, SYSTEM_TENSORFLOW="1")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "has no TensorFlow that can be imported: load the site's module" in done.stderr


@pytest.mark.parametrize(
    ("programs", "cray", "expected"),
    [
        ({"mpicxx": "exit 0", "CC": "exit 0", "cc": "exit 0"}, "2.7", ("1", None)),
        ({"CC": "exit 0", "cc": "exit 0"}, "2.7", ("1", "CC")),
        ({"CC": "exit 0", "cc": "exit 0"}, "", (None, None)),  # no Cray: whatever that CC is
        ({}, "", (None, None)),
    ],
)
def test_mpi_is_mpicxx_s_or_a_cray_s_wrappers_or_none_and_that_is_said(tmp_path, programs, cray, expected):
    script(tmp_path / "fakes" / "pip", f"env >{tmp_path}/environment")
    script(tmp_path / "fakes" / "python", TENSORFLOW)
    script(tmp_path / "fakes" / "horovodrun", 'for name in TensorFlow Gloo MPI; do echo "  [X] $name"; done')
    venv = f'[ "$1" != -m ] || {{ mkdir -p "$3/bin"; cp {tmp_path}/fakes/* "$3/bin"; }}'
    given = {"CRAYPE_VERSION": cray} if cray else {}
    done = install(tmp_path, {"g++": "exit 0", "python3": venv, **programs}, tools=ALL_TOOLS, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "environment").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    assert (environment.get("HOROVOD_WITH_MPI"), environment.get("CXX")) == expected
    said = "no MPI (mpicxx, or CC and cc of a Cray): Horovod gets Gloo only, so start it with horovodrun"
    assert (said in done.stdout) is (expected[0] is None)

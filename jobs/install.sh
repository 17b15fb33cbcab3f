#!/usr/bin/env bash
# Installs everything into a virtual environment: jobs/install.sh FOLDER [GPU]
#
# `make venv` calls it; on a cluster run it once on a login node, with the site's compiler and MPI modules loaded.
# BASE_PYTHON=python3.10 in the environment prefers that Python to the newest fitting one.
# A second argument that is not empty asks for NVIDIA GPUs: TensorFlow with its CUDA libraries, Horovod with NCCL.
# Why each step is as it is:
#   TensorFlow comes before Horovod, which compiles against the TensorFlow that it finds.
#   --no-build-isolation lets that compilation see it; --no-cache-dir keeps pip from handing over a Horovod
#   that was compiled for another TensorFlow.
#   cmake comes from PyPI: cmake 4 no longer takes Horovod's bundled libraries, and the machine's own may be too old.
set -euo pipefail

venv=${1:?"usage: jobs/install.sh FOLDER [GPU]"}
gpu=${2:-}
cd "$(dirname "$0")/.."

fail() { printf 'install: %s\n' "$*" >&2; exit 1; }

fitting_python() {
    local candidate
    for candidate in ${BASE_PYTHON:-} python3.11 python3.10 python3.9 python3; do
        # Some names are only wrappers that refuse to run, hence the trial.
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))' \
            >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    if command -v uv >/dev/null 2>&1; then uv python find '>=3.9,<3.12' 2>/dev/null && return; fi
    return 1
}

step() {  # step "what it does" command...: one line with the seconds it took; the log's end if it fails
    local title=$1 started=$SECONDS
    shift
    printf '  %-58s ' "$title"
    if "$@" >>"$log" 2>&1; then
        printf '%4d s\n' $((SECONDS - started))
    else
        printf 'failed\n\n'
        tail -n 25 "$log" >&2
        fail "'$title' failed; the whole output is in $log"
    fi
}

command -v "${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 ||
    fail "no C++ compiler found, and Horovod needs one: install g++ (Debian, Ubuntu: apt-get install g++; clusters: load a gcc module)"
python=$(fitting_python) ||
    fail "no Python 3.9, 3.10 or 3.11 with venv found: install one (Debian, Ubuntu: apt-get install python3-venv; or: uv python install 3.11)"

"$python" -m venv "$venv"
rm -f "$venv"/.installed-*
log=$venv/install.log
: >"$log"
PATH=$(cd "$venv" && pwd)/bin:$PATH
export PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

mpi=0
command -v mpicxx >/dev/null 2>&1 && mpi=1
tensorflow=$(grep -E '^tensorflow==' requirements.txt)
[ -z "$gpu" ] || tensorflow=${tensorflow/tensorflow==/tensorflow[and-cuda]==}

export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITH_GLOO=1
if [ $mpi = 1 ]; then export HOROVOD_WITH_MPI=1; else export HOROVOD_WITHOUT_MPI=1; fi
[ -z "$gpu" ] || export HOROVOD_GPU_OPERATIONS=NCCL
export MAKEFLAGS=${MAKEFLAGS_HOROVOD:--j$(nproc)}
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}

echo "Installing into $venv with $("$python" --version) ($python); the log is $log"
step "build tools" pip install --upgrade "pip<26" "setuptools<81" wheel "cmake<4"
step "TensorFlow (475 MB to download)" pip install "$tensorflow" "$(grep '^numpy==' requirements.txt)" \
    "$(grep '^protobuf==' requirements.txt)"
step "the other packages" bash -c 'grep -Ev "^horovod==" requirements.txt | pip install -r /dev/stdin -r requirements-dev.txt'
step "Horovod, compiled (2 to 4 minutes on 2 cores)" pip install --no-build-isolation --no-cache-dir \
    "$(grep '^horovod==' requirements.txt)"

echo
TF_CPP_MIN_LOG_LEVEL=3 horovodrun --check-build | tee "$venv/check-build.log"
echo "(Horovod lists PyTorch as available whether it is or not; it is not used here.)"
require() { grep -q "\[X\] $1" "$venv/check-build.log" || fail "Horovod was built without $1; see $log"; }
require TensorFlow
require Gloo
[ $mpi = 0 ] || require MPI
[ -z "$gpu" ] || require NCCL
touch "$venv/.installed-$([ -z "$gpu" ] && echo cpu || echo gpu)"

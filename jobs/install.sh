#!/usr/bin/env bash
# Installs everything into a virtual environment: jobs/install.sh FOLDER [GPU]
#
# `make venv` calls it; on a cluster run it once on a login node, with the site's compiler and MPI modules loaded.
# A second argument that is not empty installs for NVIDIA GPUs: TensorFlow with its CUDA libraries, Horovod with NCCL. The
# CUDA compiler is the one in CUDA_HOME or the nvcc on PATH, else PyPI's.
# Variables in the environment:
#   BASE_PYTHON=python3.10            use this Python instead of the newest suitable one
#   TENSORFLOW=2.15                   use this TensorFlow and the packages that suit it: the lines of
#                                     jobs/tensorflow-2.15.txt replace those of requirements.txt; likewise other versions
#   CUDA_FROM_PYPI=1                  use PyPI's CUDA compiler in any case
#   HOROVOD_BUILD_CUDA_CC_LIST=70,80  compute capabilities of the GPUs
#   HOROVOD_WITHOUT_MPI=1             leave MPI out
#   SYSTEM_TENSORFLOW=1               build on the TensorFlow of `python` (or BASE_PYTHON): a module's, conda's, a
#                                     container's. It, its NumPy and its protobuf are kept, and so is a Horovod that works
# Reasons for the steps:
#   TensorFlow comes before Horovod, which is compiled against it.
#   cmake comes from PyPI: cmake 4 cannot build Horovod's bundled libraries, and the machine's own may be too old.
#   setuptools stays below 81 because Horovod's launcher imports distutils, which Python lacks since 3.12.
#   jobs/horovod.sh compiles Horovod, or uses the wheel that it compiled earlier for such an environment.
#   NCCL is always TensorFlow's, found by an rpath: which of two in one process is used would be left to chance.
set -euo pipefail

venv=${1:?"usage: jobs/install.sh FOLDER [GPU]"}
gpu=${2:-}
cd "$(dirname "$0")/.."
[ "$gpu" != 0 ] || gpu=
for switch in SYSTEM_TENSORFLOW CUDA_FROM_PYPI; do [ "${!switch:-}" != 0 ] || unset "$switch"; done
[ -n "${HOROVOD_BUILD_CUDA_CC_LIST:-}" ] || unset HOROVOD_BUILD_CUDA_CC_LIST # Horovod takes an empty one for a number

fail() { printf 'install: %s\n' "$*" >&2; exit 1; }

export TF_CPP_MIN_LOG_LEVEL=3

packages() {  # prints the lines for pip: both files of requirements, with the lines of the set's file in place of theirs
    local replaced
    replaced=$(sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' "$set_file" | paste -sd'|')
    cat "$set_file"
    grep -hvE "^(${replaced:-none})==" requirements.txt requirements-dev.txt
}

pinned() { packages | grep -E "^($1)=="; }  # pinned "A|B": prints the lines of these packages

set_of() {  # set_of VERSION: prints the file with this TensorFlow, given as the whole version or its first two numbers
    local file tested
    for file in requirements.txt jobs/tensorflow-*.txt; do
        tested=$(sed -n 's/^tensorflow==//p' "$file")
        case $tested in "$1" | "$1".*) echo "$file"; return ;; esac
    done
    fail "TENSORFLOW=$1 is not one of the tested versions, $(sed -n 's/^tensorflow==//p' requirements.txt jobs/tensorflow-*.txt | paste -sd' '): use one of these, or SYSTEM_TENSORFLOW=1 in an environment that has it"
}

use_set() {  # use_set FILE; its first line says "Python 3.9 to 3.13"
    set_file=${1/#requirements.txt//dev/null}
    read -r oldest newest < <(sed -n '1s/.* Python 3\.\([0-9]*\) to 3\.\([0-9]*\).*/\1 \2/p' "$1")
}

fitting_python() {
    local candidate minor
    for candidate in ${BASE_PYTHON:-} $(for ((minor = newest; minor >= oldest; minor--)); do echo "python3.$minor"; done) python3; do
        # Some of these commands are only wrappers that refuse to run, hence the trial.
        if "$candidate" -c "import sys, venv, ensurepip; sys.exit(not (3, $oldest) <= sys.version_info[:2] <= (3, $newest))" \
            >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    if command -v uv >/dev/null 2>&1; then uv python find ">=3.$oldest,<3.$((newest + 1))" 2>/dev/null && return; fi
    return 1
}

misfit() {  # prints the version of python3 if it is too new
    python3 -c "import sys; v = sys.version_info; v[:2] > (3, $newest) and print(f' (python3 is 3.{v[1]}, newer than TensorFlow $(pinned tensorflow | cut -d= -f3) has packages for)')" 2>/dev/null || true
}

system_python() {  # prints the path of the Python whose TensorFlow is used
    local python=${BASE_PYTHON:-python} problem
    command -v "$python" >/dev/null 2>&1 || fail "SYSTEM_TENSORFLOW: there is no '$python' on PATH: name one in BASE_PYTHON"
    "$python" -c 'import tensorflow' >/dev/null 2>&1 ||
        fail "SYSTEM_TENSORFLOW: $(command -v "$python") has no TensorFlow that can be imported: load the site's module, activate its environment, or name its Python in BASE_PYTHON"
    problem=$("$python" -c 'from common.distributed.tensorflow_version import check_version; import tensorflow as tf; check_version(tf.__version__)' 2>&1) ||
        fail "${problem##*UserError: }"
    command -v "$python"
}

system_venv() {  # makes a virtual environment that sees the packages of the system's Python
    local options=(--system-site-packages)
    # If that Python is in a virtual environment itself, the option gives only the packages below both: hence the path.
    if "$python" -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)'; then options=(); fi
    "$python" -m venv "${options[@]}" "$venv"
    if [ ${#options[@]} = 0 ]; then
        "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
            >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/system.pth"
    fi
}

beside_system() {  # prints the lines for an installed TensorFlow: Keras 2 of its version, and whatever suits its NumPy
    [ "${system#*.}" -lt 16 ] || echo "tf-keras==$system.*"
    packages | sed -E '/^tf-keras==/d; s/^(numba|scipy|zarr)==[^;]*/\1/'
}

step() {  # step "what it does" command...: prints a line with the seconds it took, and the end of the log if it fails
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

site_toolkit() {  # prints the folder of the machine's own CUDA toolkit, if it has one
    local top
    if [ -n "${CUDA_HOME:-}" ]; then
        [ -x "$CUDA_HOME/bin/nvcc" ] || fail "CUDA_HOME is $CUDA_HOME, which has no bin/nvcc: correct it, or set CUDA_FROM_PYPI=1"
        echo "$CUDA_HOME"
    elif command -v nvcc >/dev/null 2>&1; then
        # The nvcc on PATH may be a script in another folder; nvcc itself knows its toolkit.
        top=$(nvcc --dryrun -c -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')
        [ -d "$top" ] || fail "the nvcc on PATH does not tell where its toolkit is: set CUDA_HOME, or CUDA_FROM_PYPI=1"
        (cd "$top" && pwd -P)
    fi
}

pypi_toolkit() {  # pypi_toolkit FOLDER: makes a CUDA toolkit of PyPI's packages, with the names that compilers look for
    pip install --no-deps --upgrade --target "$1" -r jobs/cuda-compiler.txt
    ln -sfn lib "$1/nvidia/cu13/lib64"
    ln -sfn libcudart.so.13 "$1/nvidia/cu13/lib/libcudart.so"
}

cuda_needs() {  # cuda_needs WHOSE FOLDER: prints what programs of this compiler run on; its runtime is linked in
    local release architecture driver
    release=$("$2/bin/nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
    architecture=${HOROVOD_BUILD_CUDA_CC_LIST:-$("$2/bin/nvcc" --list-gpu-arch | sed -n '1s/compute_//p')}
    architecture=${architecture%%,*}
    case ${release%%.*} in 11) driver=450 ;; 12) driver=525 ;; 13) driver=580 ;; *) driver="of CUDA $release" ;; esac
    echo "  CUDA $release compiler, $1 ($2): runs with NVIDIA driver $driver or newer," \
        "on GPUs of compute capability ${architecture%?}.${architecture: -1} or newer"
}

mpi=0 compile=1 without="no MPI (mpicxx, or CC and cc of a Cray)"
if [ "${HOROVOD_WITHOUT_MPI:-0}" != 1 ]; then
    if command -v mpicxx >/dev/null 2>&1; then
        mpi=1
    elif [ -n "${CRAYPE_VERSION:-}" ] && command -v CC >/dev/null 2>&1 && command -v cc >/dev/null 2>&1; then
        mpi=1
        export CXX=CC CC=cc  # on a Cray these wrappers know its MPI, and there is no mpicxx
    fi
else
    without="without MPI, as HOROVOD_WITHOUT_MPI=1 asks"
fi
command -v "${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 ||
    fail "no C++ compiler found, and Horovod needs one: install g++ (Debian, Ubuntu: apt-get install g++; clusters: load a gcc module)"
if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then
    python=$(system_python) || exit 1
    system=$("$python" -c 'import tensorflow as tf; print(*tf.__version__.split(".")[:2], sep=".")')
    if [ "${system#*.}" -ge 16 ]; then use_set requirements.txt; else use_set jobs/tensorflow-2.15.txt; fi
else
    file=$(set_of "${TENSORFLOW:-$(sed -n 's/^tensorflow==//p' requirements.txt)}") || exit 1
    use_set "$file"
    python=$(fitting_python) ||
        fail "no Python 3.$oldest to 3.$newest with venv found$(misfit): install one (Debian, Ubuntu: apt-get install python3-venv; or: uv python install 3.$newest)"
fi

site_cuda=
if [ -n "$gpu" ] && [ -z "${CUDA_FROM_PYPI:-}" ]; then site_cuda=$(site_toolkit); fi

if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then system_venv; else "$python" -m venv "$venv"; fi
rm -f "$venv"/.installed-*
log=$venv/install.log
: >"$log"
PATH=$(cd "$venv" && pwd)/bin:$PATH
export PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

download="650 MB" extra=
if [ -n "$gpu" ]; then download="3 GB" extra='[and-cuda]'; fi

if [ $mpi = 1 ]; then export HOROVOD_WITH_MPI=1; else export HOROVOD_WITHOUT_MPI=1; fi

echo "Installing into $venv with $("$python" --version) ($python); the log is $log"
step "build tools" pip install --upgrade "pip<26" "$(pinned setuptools)" wheel "cmake<4"
[ $mpi = 1 ] ||
    echo "  $without: Horovod gets Gloo only, so start it with horovodrun, not with srun or mpirun"
if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then
    python -c 'import google.protobuf, numpy
print(f"numpy=={numpy.__version__}\nprotobuf=={google.protobuf.__version__}")' >"$venv/system.txt"
    kept=$(python -c 'import tensorflow as tf; print(tf.__version__)')
    while read -r line; do kept="$kept, ${line/==/ }"; done <"$venv/system.txt"
    echo "  Kept as they are: the machine's TensorFlow $kept"
    theirs="tensorflow|numpy|protobuf"
    if python -c 'import horovod.tensorflow' >/dev/null 2>&1; then
        echo "  and Horovod $(python -c 'import horovod; print(horovod.__version__)')"
        compile='' mpi=0
        [ -e "$venv/bin/horovodrun" ] || ln -s "$(command -v horovodrun)" "$venv/bin/horovodrun"
    fi
else
    : >"$venv/system.txt"
    theirs=""
    step "TensorFlow ($download to download)" pip install -r /dev/stdin \
        < <(pinned "tensorflow|tf-keras|numpy|protobuf" | sed "s/^tensorflow==/tensorflow$extra==/")
fi
step "the other packages" pip install -c "$venv/system.txt" -r /dev/stdin \
    < <(if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then beside_system; else packages; fi | grep -Ev "^(horovod|${theirs:-none})==")
if [ -n "$gpu" ] && [ -n "$compile" ]; then
    if [ -n "$site_cuda" ]; then
        cuda=$site_cuda
        cuda_needs "the machine's own" "$cuda"
    else
        cuda=$(cd "$venv" && pwd)/cuda/nvidia/cu13
        step "the CUDA compiler from PyPI (105 MB to download)" pypi_toolkit "$venv/cuda"
        # Turing to Hopper; on newer GPUs the code for the last of these is compiled again when it is first used.
        export HOROVOD_BUILD_CUDA_CC_LIST=${HOROVOD_BUILD_CUDA_CC_LIST:-75,80,86,89,90}
        cuda_needs "from PyPI" "$cuda"
    fi
    nccl=$(python -c 'import nvidia.nccl; print(nvidia.nccl.__path__[0])')
    ln -sfn libnccl.so.2 "$nccl/lib/libnccl.so"
    # Horovod looks for nvcc on PATH before HOROVOD_CUDA_HOME.
    export PATH=$cuda/bin:$PATH LDFLAGS="${LDFLAGS:-} -Wl,-rpath,$nccl/lib"
    export HOROVOD_GPU_OPERATIONS=NCCL HOROVOD_CUDA_HOME=$cuda HOROVOD_NCCL_HOME=$nccl HOROVOD_NCCL_LINK=SHARED
fi
[ -z "$compile" ] || step "Horovod, compiled (2 to 4 minutes on 2 cores)" bash jobs/horovod.sh
[ ! -d "$venv/cuda" ] || rm -r "$venv/cuda"  # only the compilation needs it

echo
# TensorFlow 2.21 writes lines of its own ten times over; they go into the log.
horovodrun --check-build 2>>"$log" | tee "$venv/check-build.log" || fail "horovodrun --check-build failed; see $log"
echo "(Horovod always lists PyTorch as available; it is not used here.)"
require() { grep -q "\[X\] $1" "$venv/check-build.log" || fail "Horovod was built without $1; see $log"; }
require TensorFlow
require Gloo
[ $mpi = 0 ] || require MPI
[ -z "$gpu" ] || require NCCL
kind=$([ -z "$gpu" ] && echo cpu || echo gpu)
touch "$venv/.installed-$kind"
[ -z "${TENSORFLOW:-}" ] || touch "$venv/.installed-$kind-$TENSORFLOW"

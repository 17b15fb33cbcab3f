#!/usr/bin/env bash
# Installs Horovod into the Python environment on PATH, compiled against the TensorFlow in it: bash jobs/horovod.sh
#
# jobs/install.sh calls it; it also works by hand, in any environment that has TensorFlow, "setuptools<81", wheel and
# "cmake<4". The sources are PyPI's, edited for newer TensorFlows (jobs/horovod_edits.py).
# The wheel is kept in ${XDG_CACHE_HOME:-~/.cache}/tf-science-segmentation/horovod, in a folder named after a checksum of all
# that it was compiled from and with, so that it is compiled once for each kind of environment; HOROVOD_CACHE= (empty)
# keeps none.
# HOROVOD_WITH_MPI=1, HOROVOD_GPU_OPERATIONS=NCCL and Horovod's other variables are obeyed.
# Reasons for the steps:
#   --no-build-isolation because setup.py imports TensorFlow; --no-cache-dir so that pip does not reuse a Horovod that was
#   compiled for another TensorFlow.
#   -include because Horovod omits some standard headers that gcc 13 and newer do not include by themselves.
set -euo pipefail

jobs=$(cd "$(dirname "$0")" && pwd)
fail() { printf 'horovod: %s\n' "$*" >&2; exit 1; }

export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITH_GLOO=1
[ "${HOROVOD_WITH_MPI:-0}" = 1 ] || export HOROVOD_WITHOUT_MPI=1
export CXXFLAGS="${CXXFLAGS:-} -include cstdint -include stdexcept -include string"
export MAKEFLAGS=${MAKEFLAGS_HOROVOD:--j$(nproc)}
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
export TF_CPP_MIN_LOG_LEVEL=3

release=$(sed -n 's/^\(horovod==[^; ]*\).*/\1/p' "$jobs/../requirements.txt")
mapfile -t tensorflow < <(python -c 'import tensorflow as tf
print(tf.__version__, tf.sysconfig.get_include(), tf.version.GIT_VERSION, tf.version.COMPILER_VERSION, sep="\n")')
[ ${#tensorflow[@]} = 4 ] || fail "$(command -v python) has no TensorFlow that can be imported: install it first"

inputs() {  # prints all that the wheel's content depends on
    echo "$release"
    printf '%s\n' "${tensorflow[@]::1}" "${tensorflow[@]:2}"
    python -c 'import sys, sysconfig
print(sys.version, sysconfig.get_config_var("SOABI"), sysconfig.get_platform())'
    env | grep -E '^(HOROVOD_|CC=|CXX=|CFLAGS=|CXXFLAGS=|CPPFLAGS=|LDFLAGS=)' | grep -v '^HOROVOD_CACHE=' | sort
    "${CXX:-c++}" --version 2>&1 || g++ --version
    getconf GNU_LIBC_VERSION 2>/dev/null || true
    if [ "${HOROVOD_WITH_MPI:-0}" = 1 ]; then mpicxx -show 2>&1 || mpicxx --version 2>&1 || true; fi
    if [ -n "${HOROVOD_CUDA_HOME:-}" ]; then "$HOROVOD_CUDA_HOME/bin/nvcc" --version; fi
    if [ -n "${HOROVOD_NCCL_HOME:-}" ]; then cksum <"$HOROVOD_NCCL_HOME/include/nccl.h" || true; fi
    cat "$jobs/horovod_edits.py"
}

own_folder() {  # own_folder PATH: succeeds if it is this user's folder and nobody else may write into it
    [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] && [ -z "$(find "$1" -maxdepth 1 \( -perm /022 -o ! -user "$(id -u)" \) ! -type l)" ]
}

cached() {  # prints the wheel of this key, if there is one and nobody else can have put it there
    [ -n "$cache" ] && own_folder "$cache" && own_folder "$cache/$key" || return 1
    local wheel
    for wheel in "$cache/$key"/horovod-*.whl; do [ -f "$wheel" ] && [ ! -L "$wheel" ] && echo "$wheel"; done
}

keep() {  # keep WHEEL: puts it into the cache, whole or not at all; a cache that cannot be written is no error
    [ -n "$cache" ] || return 0
    local part
    (umask 077 && mkdir -p "$cache") 2>/dev/null || true
    if ! own_folder "$cache" || ! part=$(mktemp -d "$cache/part.XXXXXX"); then
        echo "horovod: the wheel is not kept: $cache is not usable, or others may write there"
    elif inputs >"$part/inputs.txt" && cp "$1" "$part" && chmod -R go-w "$part" && mv -T "$part" "$cache/$key"; then
        echo "horovod: the wheel is kept in $cache/$key"
    else
        rm -rf "$part"
    fi
}

compile() {  # compile FOLDER: compiles the wheel into FOLDER
    pip download --no-deps --no-binary :all: --no-build-isolation --no-cache-dir -d "$1" "$release"
    python -m tarfile -e "$1"/horovod-*.tar.gz "$1/source"
    python "$jobs/horovod_edits.py" "$1"/source/horovod-* "${tensorflow[0]}" "${tensorflow[1]}"
    pip wheel --no-deps --no-build-isolation --no-cache-dir -w "$1" "$1"/source/horovod-*
}

cache=${HOROVOD_CACHE-${XDG_CACHE_HOME:-${HOME:-/nowhere}/.cache}/tf-science-segmentation/horovod}
key=$(inputs | sha256sum | cut -c1-32)
if wheel=$(cached) && [ -n "$wheel" ]; then
    echo "horovod: using $wheel, compiled earlier"
else
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    compile "$folder"
    wheel=$(echo "$folder"/horovod-*.whl)
    keep "$wheel"
fi
pip install --force-reinstall --no-deps "$wheel"
pip install "$release"  # the packages that it needs

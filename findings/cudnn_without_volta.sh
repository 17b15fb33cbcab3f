#!/usr/bin/env bash
# TensorFlow 2.20.0's own CUDA libraries from PyPI on a V100 (compute capability 7.0, Volta); no GPU is needed to see it.
#
# Expected: `pip install "tensorflow[and-cuda]==2.20.0"` brings libraries for the GPUs that this TensorFlow was compiled for,
# a V100 among them.
# True: TensorFlow's wheel has machine code for 7.0, but asks for any cuDNN from 9.3 on, and pip takes the newest, whose
# libcudnn_ops, libcudnn_cnn and libcudnn_adv have code from 7.5 on alone. Those of 9.10.2.21 have code for 7.0.
# Why it matters: an installation of the same TensorFlow that worked on V100s in 2025 has cuDNN without V100s when it is
# repeated today, and nothing says so before the first convolution. `pip install nvidia-cudnn-cu12==9.10.2.21` after it
# keeps within what TensorFlow asks for.
#
# Versions: tensorflow 2.20.0, nvidia-cudnn-cu12 9.28.0.42 (what pip takes in November 2026) and 9.10.2.21, and NVIDIA's
# cuobjdump 13.2.86, on Linux x86-64. Needs Python 3.9 to 3.13 (PYTHON=python3.12), PyPI, 5 GB of disk and some minutes.
# Ends with 0 if all is as said here, with 1 if that has changed, with 2 if it could not be found out.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
export PATH=$folder/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
pip install -q --no-deps --target "$folder/tools" nvidia-cuda-cuobjdump==13.2.86 || exit 2

unpack() {  # unpack REQUIREMENT PATTERN: the wheel's files of this pattern, in a folder of the requirement's name
    pip download -q --no-deps --only-binary :all: -d "$folder/$1" "$1" || exit 2
    python - "$folder/$1" "$2" <<'PYTHON'
import fnmatch, pathlib, sys, zipfile
folder, pattern = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if fnmatch.fnmatch(name, pattern) or name.endswith("/METADATA"):
            (folder / pathlib.Path(name).name).write_bytes(archive.read(name))
wheel.unlink()
PYTHON
}

capabilities() {  # capabilities FILE: the compute capabilities that it has machine code for, as 70 75 80
    "$folder/tools/nvidia/cu13/bin/cuobjdump" --list-elf "$1" | grep -o 'sm_[0-9]*' | cut -d_ -f2 | sort -nu | paste -sd' '
}

unpack tensorflow==2.20.0 'tensorflow/libtensorflow_cc.so.2'
unpack nvidia-cudnn-cu12==9.28.0.42 'nvidia/cudnn/lib/libcudnn_*.so.9'
unpack nvidia-cudnn-cu12==9.10.2.21 'nvidia/cudnn/lib/libcudnn_*.so.9'
grep -F 'nvidia-cudnn-cu12' "$folder/tensorflow==2.20.0/METADATA" || exit 2

status=0
check() {  # check yes|no FILE: says what FILE has code for, and whether 7.0 is among it as expected
    local found has=no
    found=$(capabilities "$folder/$2")
    case " $found " in *" 70 "*) has=yes ;; esac
    echo "$2: $found"
    [ "$has" = "$1" ] || { echo "CHANGED: code for 7.0 in it: $has"; status=1; }
}
check yes tensorflow==2.20.0/libtensorflow_cc.so.2
for library in ops cnn adv; do
    check no "nvidia-cudnn-cu12==9.28.0.42/libcudnn_$library.so.9"
    check yes "nvidia-cudnn-cu12==9.10.2.21/libcudnn_$library.so.9"
done
exit $status

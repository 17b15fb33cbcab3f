#!/usr/bin/env bash
# Horovod 0.28.1, its last release (June 2023), and TensorFlow 2.20.0, on CPUs over Gloo.
#
# Expected: `pip install horovod` compiles against the TensorFlow that is there, as its documentation says; or else the
# release is too old for it, and only a port of its operations would help.
# True: as published it does not compile, and one file of its sources is the only obstacle. Without that file
# (horovod/tensorflow/xla_mpi_ops.cc, for HOROVOD_ENABLE_XLA_OPS alone) the same sources compile, and two ranks reduce
# right, in eager mode, in a tf.function, and as gradients through DistributedGradientTape.
# (gcc 14 and newer refuse one more line, on any TensorFlow: an assignment to a constant in Horovod's copy of flatbuffers.
# It is taken out here too, so that the compiler's age plays no part.)
# Why it matters: Horovod's users think themselves bound to TensorFlow 2.15, thus to Python 3.11 and CUDA 12.2.
#
# Needs a C++ compiler, Python 3.9 to 3.13 (PYTHON=python3.12), PyPI, 4 GB of disk and some ten minutes on two cores.
# Ends with 0 if all is as said here, with 1 if that has changed, with 2 if it could not be found out.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
export PATH=$folder/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 TF_CPP_MIN_LOG_LEVEL=3 TF_USE_LEGACY_KERAS=1
export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITHOUT_MPI=1
export HOROVOD_WITH_GLOO=1 CXXFLAGS="-include cstdint -include stdexcept -include string" MAKEFLAGS=-j2
pip install -q setuptools==80.10.2 wheel==0.45.1 cmake==3.31.10 tensorflow==2.20.0 tf-keras==2.20.1 || exit 2
pip download -q --no-deps --no-binary :all: --no-build-isolation -d "$folder" horovod==0.28.1 || exit 2
tar -xf "$folder/horovod-0.28.1.tar.gz" -C "$folder"
sed -i '/^    count_ = other\.count_;$/d' "$folder/horovod-0.28.1/third_party/flatbuffers/include/flatbuffers/stl_emulation.h"
cp -r "$folder/horovod-0.28.1" "$folder/without"
python -c 'import sys, tensorflow as tf; print(f"Python {sys.version.split()[0]}, TensorFlow {tf.__version__}, Horovod 0.28.1")'
${CXX:-c++} --version | head -n 1

compile() { pip wheel -q --no-deps --no-build-isolation --no-cache-dir -w "$1/wheel" "$1" >"$1.log" 2>&1; }

cat >"$folder/ranks.py" <<'PYTHON'
import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

hvd.init()
mine = tf.constant([1.0, 10.0, 100.0]) * (hvd.rank() + 1)
reduce = tf.function(lambda x: hvd.allreduce(x, op=hvd.Sum))
variable = tf.Variable(2.0)
with hvd.DistributedGradientTape(tf.GradientTape()) as tape:
    loss = variable * variable * (hvd.rank() + 1)  # its gradient is 4 and 8, 6 on average
results = [hvd.allreduce(mine, op=hvd.Sum), reduce(mine), *tape.gradient(loss, [variable])]
for result, right in zip(results, ([3.0, 30.0, 300.0], [3.0, 30.0, 300.0], 6.0)):
    np.testing.assert_array_equal(result, right)
print(f"rank {hvd.rank()} of {hvd.size()}: {[np.array(result).tolist() for result in results]}")
assert hvd.size() == 2
PYTHON

status=0
if compile "$folder/horovod-0.28.1"; then
    echo "CHANGED: Horovod compiles as published"
    status=1
else
    echo "as published it does not compile:"
    grep -m 1 -E ":[0-9]+: (fatal )?error:" "$folder/horovod-0.28.1.log" | sed "s#$folder/##g" || true
fi
sed -i '/xla_mpi_ops\.cc/d' "$folder/without/horovod/tensorflow/CMakeLists.txt"
if compile "$folder/without" && pip install -q "$folder"/without/wheel/*.whl; then
    echo "without xla_mpi_ops.cc it compiles; on two ranks:"
    if ! horovodrun --gloo -np 2 python "$folder/ranks.py"; then
        echo "CHANGED: two ranks do not reduce right"
        status=1
    fi
else
    echo "CHANGED: it does not compile without xla_mpi_ops.cc either"
    tail -n 20 "$folder/without.log"
    status=1
fi
exit $status

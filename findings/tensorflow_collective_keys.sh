#!/usr/bin/env bash
# MultiWorkerMirroredStrategy of TensorFlow 2.20.0 never frees what it notes of a reduction, on two workers with CPUs.
#
# Expected: a step that exchanges the same tensors again needs no more memory; a long training stays as large as it is.
# True:     the strategy gives every reduction of every step a number of its own, and TensorFlow keeps a record of each
#           number until the program ends: 1.4 kB for each of them on a worker. Numbered once, when the function is traced,
#           the same steps need none; the class that numbers has a switch for that, which is private.
# Matters:  it looks like a leak of the data pipeline, and a long training may die of it: what reduces 100 times a step,
#           as networks with synchronized batch norms do, would grow by 14 GB in 100,000 steps.
#
# Needs Python 3.9 to 3.13 (PYTHON=python3.12), glibc 2.33 or later, PyPI, 3 GB of disk and some minutes.
# Ends with 0 if all is as said here, with 1 if that has changed, with 2 if it could not be found out.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/pip" install -q --disable-pip-version-check tensorflow==2.20.0 || exit 2

cat >"$folder/worker.py" <<'PYTHON'
import ctypes
import json
import os
import sys

rank, reuse, *ports = map(int, sys.argv[1:])
os.environ["TF_CONFIG"] = json.dumps(
    {"cluster": {"worker": [f"localhost:{port}" for port in ports]}, "task": {"type": "worker", "index": rank}}
)
import tensorflow as tf  # noqa: E402 - it reads TF_CONFIG
from tensorflow.python.distribute.cross_device_utils import CollectiveReplicaLauncher  # noqa: E402

STEPS, TENSORS = 200, 50
strategy = tf.distribute.MultiWorkerMirroredStrategy()
if reuse:
    CollectiveReplicaLauncher._prefer_unique_instance_key = False


def exchange():
    context = tf.distribute.get_replica_context()
    return [context.all_reduce("sum", tf.fill([number + 1], 1.0)) for number in range(TENSORS)]


@tf.function
def step():
    return strategy.run(exchange)


class Allocated(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks mapped u f used free keep".split()]


account = ctypes.CDLL(None).mallinfo2
account.restype = Allocated


def allocated() -> int:
    """Bytes that the program holds; resident memory would depend on what else runs."""
    memory = account()
    return memory.used + memory.mapped


for number in range(STEPS + 50):
    if number == 50:  # whatever is made once has been made
        before = allocated()
    assert step()[0].numpy() == [2.0]
if rank == 0:
    print(tf.__version__, round((allocated() - before) / (STEPS * TENSORS)), flush=True)
os._exit(0)  # without the strategy's wait for each other
PYTHON

cat >"$folder/both.py" <<'PYTHON'
import os
import socket
import subprocess
import sys

environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
growth = []
for reuse in (0, 1):
    listeners = [socket.create_server(("localhost", 0)) for _ in range(2)]
    ports = [str(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    workers = [
        subprocess.Popen(
            [sys.executable, sys.argv[1], str(rank), str(reuse), *ports],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        answers = [worker.communicate(timeout=600)[0] for worker in workers]
    except subprocess.TimeoutExpired:
        for worker in workers:
            worker.kill()
        sys.exit(2)
    if any(worker.returncode for worker in workers):
        sys.exit(2)
    version, each = answers[0].split()
    growth.append(int(each))
    numbered = "once, when traced" if reuse else "anew in every step"
    print(f"TensorFlow {version}, reductions numbered {numbered}: {each} bytes more for each")
sys.exit(0 if growth[0] > 1000 and growth[1] < 100 else 1)
PYTHON

status=0
"$folder/venv/bin/python" "$folder/both.py" "$folder/worker.py" || status=$?
[ "$status" = 1 ] && echo "CHANGED: memory does not grow as said here"
exit "$status"

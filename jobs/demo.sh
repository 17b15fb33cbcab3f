#!/usr/bin/env bash
# The demo: make scenes, train on two ranks, mask the held-out scenes, report. `make demo` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."
export TF_CPP_MIN_LOG_LEVEL=3 # horovodrun loads TensorFlow too, and would show its start-up messages
overrides=()
if grep -qE 'avx512_bf16|amx_bf16' /proc/cpuinfo; then
    echo "This processor computes in bfloat16: using mixed_bfloat16, about twice as fast as float32."
    overrides=(training.precision=mixed_bfloat16 inference.precision=mixed_bfloat16)
fi
echo "== 1 of 2: make scenes of 1200 x 1500 pixels"
python -m cloudmask synthesize --config config/cloudmask/demo.yaml
echo "== 2 of 2: train on 2 ranks, mask the scenes held out, report"
horovodrun -np 2 python -m cloudmask run --config config/cloudmask/demo.yaml "${overrides[@]}" "$@"

#!/usr/bin/env bash
# The demo: for each benchmark, make data, train, score on held-out data, report. `make demo` calls it. It uses one rank
# for each GPU, at most two, and two without GPUs. Arguments such as training.epochs=1 are passed to CloudMask's run.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=jobs/common.sh
. "$project/jobs/common.sh"
cloudmask=() deepcam=()
gpus=$(gpus_here)
ranks=$((gpus == 1 ? 1 : 2))
if [ "$gpus" -gt 0 ]; then
    echo "$gpus GPUs are visible: using $ranks, in float32."
elif grep -qE 'avx512_bf16|amx_bf16' /proc/cpuinfo; then
    echo "This processor computes in bfloat16: using mixed_bfloat16, about twice as fast as float32."
    cloudmask=(training.precision=mixed_bfloat16 inference.precision=mixed_bfloat16)
    deepcam=(training.precision=mixed_bfloat16)
fi
echo "== 1 of 4: DeepCAM: make samples of 192 x 288 pixels, 16 channels"
# --events 12 leaves few of the small tiles empty; an empty tile is too easy.
python -m tf_deepcam synthesize --folder demo/cam5 --train 192 --validation 32 --height 192 --width 288 --events 12
echo "== 2 of 4: DeepCAM: train on $ranks ranks to IoU 0.82, check the MLPerf log, report"
run=deepcam-$(date +%Y%m%d-%H%M%S)
python -m common.run -np "$ranks" -- tf_deepcam train --config "$project"/config/deepcam/demo.yaml output.run_name="$run" "${deepcam[@]}"
python -m mlperf_logging.compliance_checker --usage hpc --ruleset 3.0.0 \
    --log_output "demo/runs/$run/compliance.log" "demo/runs/$run/mlperf.log"
echo "== 3 of 4: CloudMask: make scenes of 1200 x 1500 pixels"
# Labels without errors show what the network can learn; real labels have some.
python -m cloudmask synthesize --folder demo/scenes --scenes 18 --label-error 0
echo "== 4 of 4: CloudMask: train on $ranks ranks, mask the held-out scenes, report"
python -m common.run -np "$ranks" -- cloudmask run --config "$project"/config/cloudmask/demo.yaml "${cloudmask[@]}" "$@"

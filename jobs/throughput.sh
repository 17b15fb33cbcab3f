#!/usr/bin/env bash
# A throughput (weak scaling) result under MLPerf HPC's rules: several models trained at once, each by an instance with
# its own seed, run folder and log.
#
#   bash jobs/throughput.sh INSTANCES COMMAND...        NAME=models-DATE in the environment sets the name
#
# COMMAND starts one instance and accepts key=value at its end; {} in it is the instance's number, from 0. In a job of 64
# nodes, this starts 8 instances, each on 8 nodes of its own:
#   bash jobs/throughput.sh 8 srun --exact -N 8 -n 32 --gpus-per-node=4 python -m tf_deepcam train --config FILE
# On a workstation: bash jobs/throughput.sh 2 python -m tf_deepcam train --config config/deepcam/demo.yaml threads=1
# Each instance's output goes to NAME-{}.out. Afterwards: python -m common.report RUNS/NAME-*
set -euo pipefail
[[ $# -gt 1 && $1 =~ ^[1-9][0-9]*$ ]] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
instances=$1 name=${NAME:-models-$(date +%Y%m%d-%H%M%S)} first=$(date +%s) pids=() failed=()
shift
claim() { # create all output files of a name; leave those of other instances as they are, and fail
    local number file made=()
    for ((number = 0; number < instances; number++)); do
        file=$1-$number.out
        if ! (set -o noclobber && : >"$file") 2>/dev/null; then
            [ ${#made[@]} = 0 ] || rm -f "${made[@]}"
            [ -e "$file" ] || { echo "error: $file: cannot be written in $PWD" >&2; exit 1; }
            return 1
        fi
        made+=("$file")
    done
}
if [ -n "${NAME:-}" ]; then
    claim "$name" || { echo "error: $name-*.out: there are such files already, of other instances; choose another NAME" >&2; exit 1; }
else
    date=$name count=1
    until claim "$name"; do name=$date-$((++count)); done
fi
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; exit 130' INT TERM
for ((number = 0; number < instances; number++)); do
    RUN_NAME=$name-$number "${@//\{\}/$number}" "training.seed=$((first + number))" "submission.instance=$number" \
        "output.run_name=$name-$number" >"$name-$number.out" 2>&1 &
    pids+=($!)
done
echo "$instances instances run: $name-0 ... $name-$((instances - 1)), seeds $first ... $((first + instances - 1))"
for ((number = 0; number < instances; number++)); do
    wait "${pids[$number]}" || failed+=("$name-$number.out")
done
if [ ${#failed[@]} -gt 0 ]; then
    tail -n 1 "${failed[@]}" >&2
    echo "error: ${#failed[@]} of $instances instances failed; see their output in ${failed[*]}" >&2
    exit 1
fi
